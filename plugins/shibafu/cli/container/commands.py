"""The subcommands for containers; they are words of their own, as people know them."""

from shibafu.cli.container import exec as exec_
from shibafu.cli.container import logs, ps, restart, rm, run, start, stop

SUBCOMMANDS = (
    run.SUBCOMMAND,
    exec_.SUBCOMMAND,
    ps.SUBCOMMAND,
    logs.SUBCOMMAND,
    stop.SUBCOMMAND,
    start.SUBCOMMAND,
    restart.SUBCOMMAND,
    rm.SUBCOMMAND,
)
