"""The command line in this process."""

from io import StringIO

from shibafu.cli.parser import run
from shibafu.cli.subcommands import GROUPS, TOP_LEVEL

LINES = [f"{group} {subcommand.name}" for group, _, subcommands in GROUPS for subcommand in subcommands]
LINES += ["completion", *(subcommand.name for subcommand in TOP_LEVEL)]


def call(*argv: str) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    return run(argv, out, err), out.getvalue(), err.getvalue()
