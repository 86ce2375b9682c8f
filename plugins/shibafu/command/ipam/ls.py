"""`shibafu ipam ls`."""

from argparse import ArgumentParser, Namespace

from shibafu.command.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help="which networks; by default all")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.command.leases import list_holdings
    from shibafu.command.networks import load_networks

    networks = load_networks(context.conf_dir, arguments.networks, broken=[])
    holdings = [holding for network in networks for holding in list_holdings(network)]
    context.out.data(
        [
            {
                "network": holding.network,
                "address": str(holding.address),
                "containerID": holding.container_id,
                "ifname": holding.ifname,
                "netns": holding.netns,
                "reserved": holding.is_reserved,
                "abandoned": holding.is_abandoned,
            }
            for holding in holdings
        ]
    )
    rows = []
    for holding in holdings:
        state = "abandoned" if holding.is_abandoned else "reserved" if holding.is_reserved else "in use"
        owner = "-" if holding.is_reserved else holding.container_id
        rows.append([holding.network, str(holding.address), owner, holding.ifname or "-", state])
    context.out.table(("NETWORK", "ADDRESS", "CONTAINER", "INTERFACE", "STATE"), rows)
    return 0


SUBCOMMAND = Subcommand(
    "ls",
    "list the addresses that are given out",
    "List the addresses that are given out, and to whom. An address is abandoned when the namespace of\n"
    "its container is gone.",
    ("shibafu ipam ls", "shibafu ipam ls blue --format json"),
    _run,
    _add_arguments,
)
