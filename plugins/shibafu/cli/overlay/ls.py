"""`shibafu overlay ls`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.container.ps import format_age
from shibafu.cli.overlay.agent_options import add_config, load_overlays
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.errors import Failures

# By IPv4, and by IPv6, which a host need not have.
_REACHED: dict[tuple[bool | None, bool | None], str] = {
    (None, None): "-",
    (True, True): "yes",
    (True, None): "yes",
    (True, False): "IPv4 only",
    (False, True): "IPv6 only",
    (False, False): "no",
    (False, None): "no",
}


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", nargs="?", default="", help="only this one")
    add_config(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.overlay.administration import list_hosts
    from shibafu.overlay.agent_state import parse_own_lease, read_agent_state
    from shibafu.overlay.etcd import EtcdClient
    from shibafu.overlay.reachability import find_reachable

    failures = Failures(context.out.failure)
    data, rows = [], []
    for settings in load_overlays(arguments.config, arguments.network):
        with failures.part(f"network {settings.name}"):
            hosts = list_hosts(EtcdClient(settings.etcd), settings.prefix)
            own = parse_own_lease(read_agent_state(settings.name))
            reachable = find_reachable([host.lease for host in hosts], own)
            described = []
            for host in hosts:
                lease = host.lease
                reach = reachable.get(lease.subnet)
                ipv4, ipv6 = (reach.ipv4, reach.ipv6) if reach is not None else (None, None)
                described.append(host.describe() | {"reachable": ipv4, "reachable6": ipv6})
                # Another host may have taken its subnet.
                is_own = own is not None and (lease.subnet, lease.public_ip) == (own.subnet, own.public_ip)
                age = "reserved" if host.is_reserved else "expired"
                rows.append(
                    [
                        settings.name,
                        str(lease.public_ip),
                        str(lease.subnet),
                        str(lease.subnet6 or "-"),
                        lease.backend,
                        age if host.renewed is None else f"{format_age(host.renewed)} ago",
                        "this host" if is_own else _REACHED[ipv4, ipv6],
                    ]
                )
            data.append({"network": settings.name, "hosts": described})
    context.out.data(data)
    context.out.table(("NETWORK", "HOST", "SUBNET", "IPV6 SUBNET", "BACKEND", "RENEWED", "REACHED"), rows)
    return failures.status


SUBCOMMAND = Subcommand(
    "ls",
    "list the hosts of networks, and their subnets",
    "List the hosts that have a subnet, as etcd has them, and when they renewed it. That is once in 8 hours\n"
    "by default, and the subnet is kept for another 16: it does not say that a host is alive. Whether this\n"
    "host reaches them does: all are asked at once through the overlay, by IPv4 and where they have it by\n"
    "IPv6, and have a second to answer.",
    ("shibafu overlay ls", "shibafu overlay ls blue --format json"),
    _run,
    _add_arguments,
)
