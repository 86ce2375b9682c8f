"""The subcommands of `shibafu ipam`."""

from shibafu.cli.ipam import ls, release, reserve

GROUP = (
    "ipam",
    "addresses: list, release, reserve",
    (ls.SUBCOMMAND, release.SUBCOMMAND, reserve.SUBCOMMAND),
)
