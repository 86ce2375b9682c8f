"""The subcommands of `shibafu link`."""

from shibafu.cli.link import addr, create_bridge, create_veth, move, rm

GROUP = (
    "link",
    "single links: bridges, veth pairs, addresses",
    (create_bridge.SUBCOMMAND, create_veth.SUBCOMMAND, move.SUBCOMMAND, addr.SUBCOMMAND, rm.SUBCOMMAND),
)
