"""`shibafu ipam ls`."""

from argparse import ArgumentParser, Namespace

from shibafu.cni.errors import CniError
from shibafu.command.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help="which networks; by default all")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.command.failures import Failures
    from shibafu.command.leases import Holding, list_holdings
    from shibafu.command.networks import load_networks
    from shibafu.runtime.conflist import ConflistError

    failures = Failures(context.out)
    broken: list[ConflistError] = []
    holdings: list[Holding] = []
    for network in load_networks(context.conf_dir, arguments.networks, broken):
        with failures.part(f"network {network.name}"):
            unreadable: list[CniError] = []
            holdings += list_holdings(network, unreadable)
            failures.add(*unreadable)
    failures.add(*broken)
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
        owner = "-" if holding.is_reserved else holding.container_id or "?"
        rows.append([holding.network, str(holding.address), owner, holding.ifname or "-", state])
    context.out.table(("NETWORK", "ADDRESS", "CONTAINER", "INTERFACE", "STATE"), rows)
    return failures.status


SUBCOMMAND = Subcommand(
    "ls",
    "list the addresses that are given out",
    "List the addresses that are given out, and to whom. An address is abandoned when the namespace of\n"
    "its container is gone.",
    ("shibafu ipam ls", "shibafu ipam ls blue --format json"),
    _run,
    _add_arguments,
)
