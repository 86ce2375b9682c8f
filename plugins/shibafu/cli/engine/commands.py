"""The subcommands of `shibafu engine`."""

from shibafu.cli.engine import run, start, status, stop

GROUP = (
    "engine",
    "the resident engine, which makes calls faster",
    (run.SUBCOMMAND, start.SUBCOMMAND, stop.SUBCOMMAND, status.SUBCOMMAND),
)
