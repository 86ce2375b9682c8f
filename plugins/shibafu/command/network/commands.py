"""The subcommands of `shibafu network`."""

from shibafu.command.network import connect, create, disconnect, ls, rm

GROUP = (
    "network",
    "networks: list, make, inspect, repair",
    (ls.SUBCOMMAND, create.SUBCOMMAND, rm.SUBCOMMAND, connect.SUBCOMMAND, disconnect.SUBCOMMAND),
)
