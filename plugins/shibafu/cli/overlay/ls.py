"""`shibafu overlay ls`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.container.ps import format_age
from shibafu.cli.overlay.agent_options import add_config, load_overlays
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.errors import Failures


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", nargs="?", default="", help="only this one")
    add_config(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.overlay.administration import list_hosts
    from shibafu.overlay.etcd import EtcdClient

    failures = Failures(context.out.failure)
    data, rows = [], []
    for settings in load_overlays(arguments.config, arguments.network):
        with failures.part(f"network {settings.name}"):
            hosts = list_hosts(EtcdClient(settings.etcd), settings.prefix)
            data.append({"network": settings.name, "hosts": [host.describe() for host in hosts]})
            for host in hosts:
                lease = host.lease
                age = "reserved" if host.is_reserved else "expired"
                rows.append(
                    [
                        settings.name,
                        str(lease.public_ip),
                        str(lease.subnet),
                        str(lease.subnet6 or "-"),
                        lease.backend,
                        age if host.renewed is None else f"{format_age(host.renewed)} ago",
                    ]
                )
    context.out.data(data)
    context.out.table(("NETWORK", "HOST", "SUBNET", "IPV6 SUBNET", "BACKEND", "RENEWED"), rows)
    return failures.status


SUBCOMMAND = Subcommand(
    "ls",
    "list the hosts of networks, and their subnets",
    "List the hosts that have a subnet, as etcd has them, and when they renewed it. That is once in 8 hours\n"
    "by default, and the subnet is kept for another 16: it does not say that a host is alive.",
    ("shibafu overlay ls", "shibafu overlay ls blue --format json"),
    _run,
    _add_arguments,
)
