"""The command line: all subcommands in one parser, and how they end."""

import os
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Sequence
from typing import TextIO

import shibafu
from shibafu.cli import completion
from shibafu.cli.output import Output
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.cli.subcommands import GROUPS, TOP_LEVEL
from shibafu.networks.errors import FAILED, USAGE, describe_failure
from shibafu.networks.machine import CACHE_DIR, CNI_PATH, CONF_DIR
from shibafu.networks.text import Style

INTERRUPTED = 130


def build_parser() -> ArgumentParser:
    """Return the parser of the whole command line."""
    parser = ArgumentParser(
        prog="shibafu",
        description="Create, inspect and repair networks for containers, and run containers on them.",
        epilog="See `shibafu COMMAND --help` for details and examples.",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"shibafu {shibafu.__version__}")
    words = parser.add_subparsers(metavar="COMMAND", required=True)
    for subcommand in TOP_LEVEL:
        add_subcommand(words, subcommand)
    for name, summary, subcommands in GROUPS:
        group = words.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=_format_examples(subcommand.examples[0] for subcommand in subcommands)
            + f"\n\nSee `shibafu {name} COMMAND --help` for details and further examples.",
            formatter_class=RawDescriptionHelpFormatter,
        )
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
    groups = [name for name, _, _ in GROUPS]
    if not argv or (len(argv) == 1 and argv[0] in groups):
        argv = [*argv, "--help"]
    try:
        return build_parser().parse_args(argv)
    except SystemExit as end:
        failure = next((one.failure for one in TOP_LEVEL if [one.name] == [*argv[:1]]), USAGE)
        raise SystemExit(max(USAGE, failure) if end.code == USAGE else end.code) from None
