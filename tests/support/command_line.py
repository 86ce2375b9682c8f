"""The command line in this process."""

from io import StringIO

from shibafu.cli.parser import run
from shibafu.cli.subcommands import GROUPS, TOP_LEVEL

LINES = [f"{group.folder} {name}" for group in GROUPS for name in group.names]
LINES += ["completion", *TOP_LEVEL.names]


def call(*argv: str) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    return run(argv, out, err), out.getvalue(), err.getvalue()
