"""`shibafu link create-bridge`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand, parse_mtu


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the bridge's name")
    parser.add_argument("--mtu", type=parse_mtu, default=0, help="the MTU in bytes")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks import links

    context.out.commands(links.create_bridge(arguments.name, arguments.mtu))
    return 0


SUBCOMMAND = Subcommand(
    "create-bridge",
    "create a bridge: a switch inside the kernel",
    "Create a bridge and set it up. A bridge forwards frames between its ports, as a switch does; an\n"
    "address on it makes the host a part of that network.",
    (
        "shibafu link create-bridge br0",
        "bridge link show                      # its ports",
        "shibafu link addr br0 10.1.0.1/24     # the host joins it",
    ),
    _run,
    _add_arguments,
)
