"""The subcommands of `shibafu network`."""

from shibafu.command.network import check, connect, create, disconnect, gc, inspect, ls, rm

GROUP = (
    "network",
    "networks: list, make, inspect, repair",
    (
        ls.SUBCOMMAND,
        inspect.SUBCOMMAND,
        create.SUBCOMMAND,
        rm.SUBCOMMAND,
        connect.SUBCOMMAND,
        disconnect.SUBCOMMAND,
        check.SUBCOMMAND,
        gc.SUBCOMMAND,
    ),
)
