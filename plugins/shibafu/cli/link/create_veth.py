"""`shibafu link create-veth`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("host", metavar="HOST", help="the end that stays in this namespace")
    parser.add_argument("container", metavar="CONTAINER", help="the other end")
    parser.add_argument("--netns", metavar="NETNS|PID", help="the other end's namespace")
    parser.add_argument(
        "--bridge", metavar="BRIDGE", default="", help="a bridge to make the local end a port of"
    )


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks import links
    from shibafu.networks.named_netns import require_netns

    netns = require_netns(arguments.netns) if arguments.netns else ""
    done = links.create_veth(arguments.host, arguments.container, netns, arguments.bridge)
    context.out.commands(done)
    return 0


SUBCOMMAND = Subcommand(
    "create-veth",
    "create a veth pair: a cable with two ends",
    "Create a veth pair and set the local end up. What enters one end leaves the other; with the ends in\n"
    "two namespaces it connects them.",
    (
        "shibafu link create-veth veth-web eth0 --netns web --bridge br0",
        "shibafu link create-veth a b          # both ends here; move one of them later",
        "ip -n web link show                   # the other end",
    ),
    _run,
    _add_arguments,
)
