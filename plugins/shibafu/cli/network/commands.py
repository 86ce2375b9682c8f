"""The subcommands of `shibafu network`."""

from shibafu.cli.network import (
    apply,
    check,
    connect,
    create,
    disconnect,
    export,
    gc,
    inspect,
    ls,
    repair,
    rm,
)

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
        repair.SUBCOMMAND,
        apply.SUBCOMMAND,
        export.SUBCOMMAND,
    ),
)
