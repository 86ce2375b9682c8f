"""`shibafu overlay rm`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.overlay.agent_options import add_config, load_overlays
from shibafu.cli.subcommand import Context, Subcommand, convert
from shibafu.networks.errors import CommandError


def _parse_host(text: str) -> str:
    from shibafu.overlay.administration import require_host

    return convert(require_host)(text)


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("host", metavar="HOST", type=_parse_host, help="its address, or its subnet")
    parser.add_argument("--network", metavar="NETWORK", default="", help="only from this network")
    add_config(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.overlay.administration import remove_from_this_host, remove_host
    from shibafu.overlay.etcd import EtcdClient

    data = []
    for settings in load_overlays(arguments.config, arguments.network):
        here = remove_from_this_host(settings, arguments.host)
        removed = remove_host(EtcdClient(settings.etcd), settings.prefix, arguments.host)
        for lease in removed:
            context.out.text(
                f"removed {lease.public_ip} from network {settings.name}: {lease.subnet} is free"
            )
        if here:
            context.out.text(f"removed from this host: {', '.join(here)}")
            context.out.text(
                "before this host joins again: delete the bridge that has the gateway of its subnet,"
                ' or set "forceAddress"'
            )
        if removed or here:
            subnets = [str(lease.subnet) for lease in removed]
            data.append({"network": settings.name, "subnets": subnets, "removed": here})
    if not data:
        raise CommandError(f"no network has the host {arguments.host}", "`shibafu overlay ls` lists them")
    context.out.data(data)
    return 0


SUBCOMMAND = Subcommand(
    "rm",
    "remove a host from its networks for good",
    "Remove a host that will not come back: its subnet is free at once, and the other hosts forget it. A\n"
    "host whose agent runs would join again; stop that first. On the host itself, what its networks have in\n"
    "the kernel and below /run is removed, too.",
    ("shibafu overlay rm 192.0.2.7", "shibafu overlay rm 10.42.73.0/24 --network blue"),
    _run,
    _add_arguments,
)
