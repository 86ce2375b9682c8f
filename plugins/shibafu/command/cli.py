"""The command line: all subcommands in one parser, and how they end."""

import json
import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from traceback import walk_tb
from typing import TextIO

import shibafu
from shibafu.cni.errors import CniError, calc_line
from shibafu.command import completion
from shibafu.command.container.commands import SUBCOMMANDS
from shibafu.command.errors import FAILED, USAGE, CommandError
from shibafu.command.image import commands as image
from shibafu.command.ipam import commands as ipam
from shibafu.command.link import commands as link
from shibafu.command.network import commands as network
from shibafu.command.output import Output, Style
from shibafu.command.subcommand import CACHE_DIR, CNI_PATH, CONF_DIR, Context, Subcommand
from shibafu.container.errors import ContainerError

INTERRUPTED = 130
# Modules that only the command needs, and the packages that have them.
_EXTRA_MODULES = {"filelock": "filelock", "pyroute2": "pyroute2", "yaml": "pyyaml"}
GROUPS = (image.GROUP, network.GROUP, ipam.GROUP, link.GROUP)


def build_parser() -> ArgumentParser:
    """Return the parser of the whole command line."""
    parser = ArgumentParser(
        prog="shibafu",
        description="Containers, and networks for containers: make them, see them, mend them.",
        epilog="`shibafu COMMAND --help` tells more, with examples.",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"shibafu {shibafu.__version__}")
    words = parser.add_subparsers(metavar="COMMAND", required=True)
    for subcommand in SUBCOMMANDS:
        add_subcommand(words, subcommand)
    for name, summary, subcommands in GROUPS:
        group = words.add_parser(name, help=summary, description=summary)
        group_words = group.add_subparsers(metavar="COMMAND", required=True)
        for subcommand in subcommands:
            add_subcommand(group_words, subcommand)
    add_subcommand(words, completion.calc_subcommand(build_parser))
    return parser


def add_subcommand(words: "completion.Words", subcommand: Subcommand) -> None:
    """Add one word with its arguments, the common options and the examples."""
    parser = words.add_parser(
        subcommand.name,
        help=subcommand.summary,
        description=subcommand.description,
        epilog="examples:\n" + "\n".join(f"  {example}" for example in subcommand.examples),
        formatter_class=RawDescriptionHelpFormatter,
    )
    subcommand.add_arguments(parser)
    common = parser.add_argument_group("common options")
    common.add_argument(
        "--format", choices=("text", "json"), default="text", help="for people or for programs"
    )
    directories = (
        ("--conf-dir", "CNI_CONF_DIR", CONF_DIR, "directory of network configurations"),
        ("--cni-path", "CNI_PATH", CNI_PATH, "directories of plugins, joined by colons"),
        ("--cache-dir", "CNI_CACHE_DIR", CACHE_DIR, "directory of the results that runtimes keep"),
    )
    for option, variable, default, what in directories:
        common.add_argument(
            option,
            metavar="DIR",
            default=os.environ.get(variable) or default,
            help=f"{what} (${variable}, {default})",
        )
    parser.set_defaults(run=subcommand.run, failure=subcommand.failure)


def make_context(arguments: Namespace, stdout: TextIO, stderr: TextIO) -> Context:
    """Return what the subcommand works with."""
    return Context(
        arguments.conf_dir,
        [directory for directory in arguments.cni_path.split(":") if directory],
        arguments.cache_dir,
        Output(stdout, arguments.format == "json", Style.of_stream(stdout), stderr),
    )


def run(argv: Sequence[str], stdout: TextIO, stderr: TextIO) -> int:
    """Do what a command line says and return the exit code: 0, 1 for a failure, more in `docs/commands.md`.

    Raises:
        SystemExit: 2 or more for a command line that makes no sense, 0 after `--help`.
    """
    arguments = _parse(argv)
    context = make_context(arguments, stdout, stderr)

    def fail(error: CommandError) -> int:
        _report(context, stderr, error)
        failure: int = arguments.failure
        return max(error.status, failure)

    try:
        status: int = arguments.run(context, arguments)
        stdout.flush()
    except BrokenPipeError:
        return FAILED  # whoever read the output has seen enough
    except KeyboardInterrupt:
        return INTERRUPTED
    except CommandError as error:
        return fail(error)
    except ContainerError as error:
        return fail(CommandError(error.message, error.hint))
    except CniError as error:
        return fail(CommandError(error.msg, error.details))
    except PermissionError as error:
        hint = "most of what this command does takes root: try it with sudo"
        return fail(CommandError(_describe(error), hint))
    except OSError as error:
        return fail(CommandError(_describe(error)))
    except ModuleNotFoundError as error:
        return fail(_describe_missing(error))
    except Exception as error:  # a defect here must not end in a traceback either
        return fail(_describe_defect(error))
    return status


def _parse(argv: Sequence[str]) -> Namespace:
    try:
        return build_parser().parse_args(argv)
    except SystemExit as end:
        failure = next((one.failure for one in SUBCOMMANDS if [one.name] == [*argv[:1]]), USAGE)
        raise SystemExit(max(USAGE, failure) if end.code == USAGE else end.code) from None


def _describe(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return where + (error.strerror or str(error)).lower() if error.strerror else str(error)


def _describe_missing(error: ModuleNotFoundError) -> CommandError:
    """Return what to install after `pip install` without the extra `command`, see setup.cfg."""
    if error.name not in _EXTRA_MODULES:
        return _describe_defect(error)
    packages = " ".join(_EXTRA_MODULES.values())
    return CommandError(
        f"the command needs the Python package {_EXTRA_MODULES[error.name]}, which is not installed",
        f"install what it needs: {sys.executable} -m pip install {packages}",
    )


def _describe_defect(error: Exception) -> CommandError:
    *_, (frame, line) = walk_tb(error.__traceback__)
    where = f"{frame.f_code.co_filename}:{line}"
    what = f"internal error in shibafu, please report it: {type(error).__name__}: {error}"
    return CommandError(what, where)


def _report(context: Context, stderr: TextIO, error: CommandError) -> None:
    if context.out.is_json:
        said = {"error": error.message, "hint": error.hint} if error.hint else {"error": error.message}
        stderr.write(json.dumps(said) + "\n")
        return
    style = Style.of_stream(stderr)
    stderr.write(f"{style.paint('red', 'shibafu:')} {_calc_lines(error.message)}\n")
    if error.hint:
        stderr.write(f"         {_calc_lines(error.hint)}\n")


def _calc_lines(text: str) -> str:
    """Return a text that does nothing to a terminal; `network apply` has a line for each mistake."""
    return "\n".join(calc_line(line) for line in text.split("\n"))
