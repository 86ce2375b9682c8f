"""`shibafu ipam ls`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand
from shibafu.cni.errors import CniError


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help="networks; by default all")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.configured import load_networks
    from shibafu.networks.errors import Failures
    from shibafu.networks.leases import open_pool
    from shibafu.runtime.conflist import ConflistError
    from shibafu_ipam.pool import PoolLease

    failures = Failures(context.out.failure)
    broken: list[ConflistError] = []
    leases: list[tuple[str, PoolLease]] = []
    for network in load_networks(context.conf_dir, arguments.networks, broken):
        with failures.part(f"network {network.name}"):
            unreadable: list[CniError] = []
            leases += [(network.name, lease) for lease in open_pool(network).list(unreadable)]
            failures.add(*unreadable)
    failures.add(*broken)
    context.out.data(
        [
            {
                "network": name,
                "address": str(lease.address),
                "containerID": lease.container_id,
                "ifname": lease.ifname,
                "netns": lease.netns,
                "reserved": lease.is_reserved,
                "abandoned": lease.is_abandoned,
            }
            for name, lease in leases
        ]
    )
    rows = []
    for name, lease in leases:
        state = "abandoned" if lease.is_abandoned else "reserved" if lease.is_reserved else "in use"
        owner = "-" if lease.is_reserved else lease.container_id or "?"
        rows.append([name, str(lease.address), owner, lease.ifname or "-", state])
    context.out.table(("NETWORK", "ADDRESS", "CONTAINER", "INTERFACE", "STATE"), rows)
    return failures.status


SUBCOMMAND = Subcommand(
    "ls",
    "list the addresses in use",
    "List the addresses in use and the containers that have them. An address is abandoned when the\n"
    "namespace of its container is gone.",
    ("shibafu ipam ls", "shibafu ipam ls blue --format json"),
    _run,
    _add_arguments,
)
