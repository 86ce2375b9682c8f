"""The command line: all subcommands in one parser, and how they end."""

import os
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Sequence
from typing import TextIO

import shibafu
from shibafu.cli import completion
from shibafu.cli.output import Output
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.cli.subcommands import GROUPS, TOP_LEVEL, Group
from shibafu.networks.errors import FAILED, USAGE, describe_failure
from shibafu.networks.machine import CACHE_DIR, CNI_PATH, CONF_DIR
from shibafu.networks.text import Style

INTERRUPTED = 130


def build_parser(argv: Sequence[str] = ()) -> ArgumentParser:
    """Return the parser of a command line, which knows all subcommands unless the line begins with one."""
    parser = ArgumentParser(
        prog="shibafu",
        description="Create, inspect and repair networks for containers, and run containers on them.",
        epilog="See `shibafu COMMAND --help` for details and examples.",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"shibafu {shibafu.__version__}")
    words = parser.add_subparsers(metavar="COMMAND", required=True)
    first, second = (*argv[:2], "", "")[:2]
    if first in TOP_LEVEL.names:
        add_subcommand(words, TOP_LEVEL.load(first))
        return parser
    for group in GROUPS:
        if first == group.folder and second in group.names:
            add_subcommand(words.add_parser(first).add_subparsers(), group.load(second))
            return parser
    for subcommand in TOP_LEVEL.load_all():
        add_subcommand(words, subcommand)
    for group in GROUPS:
        add_group(words, group)
    add_subcommand(words, completion.calc_subcommand(build_parser))
    return parser


def add_group(words: "completion.Words", group: Group) -> None:
    """Add a word with all of its subcommands."""
    subcommands = list(group.load_all())
    parser = words.add_parser(
        group.folder,
        help=group.summary,
        description=group.summary,
        epilog=_format_examples(subcommand.examples[0] for subcommand in subcommands)
        + f"\n\nSee `shibafu {group.folder} COMMAND --help` for details and further examples.",
        formatter_class=RawDescriptionHelpFormatter,
    )
    inner = parser.add_subparsers(metavar="COMMAND", required=True)
    for subcommand in subcommands:
        add_subcommand(inner, subcommand)


def add_subcommand(words: "completion.Words", subcommand: Subcommand) -> None:
    """Add one word with its arguments, the common options and the examples."""
    parser = words.add_parser(
        subcommand.name,
        help=subcommand.summary,
        description=subcommand.description,
        epilog=_format_examples(subcommand.examples),
        formatter_class=RawDescriptionHelpFormatter,
    )
    subcommand.add_arguments(parser)
    common = parser.add_argument_group("common options")
    common.add_argument(
        "--format", choices=("text", "json"), default="text", help="output for people or for programs"
    )
    directories = (
        ("--conf-dir", "CNI_CONF_DIR", CONF_DIR, "directory of network configurations"),
        ("--cni-path", "CNI_PATH", CNI_PATH, "directories of plugins, separated by colons"),
        ("--cache-dir", "CNI_CACHE_DIR", CACHE_DIR, "directory of the results that runtimes cache"),
    )
    for option, variable, default, what in directories:
        common.add_argument(
            option,
            metavar="DIR",
            default=os.environ.get(variable) or default,
            help=f"{what} (${variable}, {default})",
        )
    parser.set_defaults(run=subcommand.run, failure=subcommand.failure)


def _format_examples(examples: Iterable[str]) -> str:
    return "examples:\n" + "\n".join(f"  {example}" for example in examples)


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
        SystemExit: 2 or more for an invalid command line, 0 after `--help`.
    """
    arguments = _parse(argv)
    context = make_context(arguments, stdout, stderr)
    try:
        status: int = arguments.run(context, arguments)
        stdout.flush()
    except BrokenPipeError:
        return FAILED  # the reader of the output has seen enough
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        failure = describe_failure(error)
        context.out.failure(failure)
        return max(failure.status, int(arguments.failure))
    return status


def _parse(argv: Sequence[str]) -> Namespace:
    # Who names no subcommand wants to know which there are.
    if not argv or (len(argv) == 1 and argv[0] in [group.folder for group in GROUPS]):
        argv = [*argv, "--help"]
    try:
        return build_parser(argv).parse_args(argv)
    except SystemExit as end:
        failure = TOP_LEVEL.load(argv[0]).failure if argv[0] in TOP_LEVEL.names else USAGE
        raise SystemExit(max(USAGE, failure) if end.code == USAGE else end.code) from None
