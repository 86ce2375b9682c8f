"""`shibafu network limit`."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from shibafu.cli.subcommand import Context, Subcommand
from shibafu.cni.rates import parse_bits, render_rate
from shibafu.networks.errors import CommandError, UsageError
from shibafu.networks.text import LIMIT_VERBS

if TYPE_CHECKING:
    from shibafu.networks.attachments import Caller
    from shibafu.networks.configured import ConfiguredNetwork
    from shibafu.networks.inspect import Endpoint


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "container", metavar="CONTAINER|NETNS", help="a container's ID, or a namespace's name or path"
    )
    for way, verb in LIMIT_VERBS.items():
        parser.add_argument(
            f"--{way}",
            metavar="RATE[:BURST]",
            type=_parse_limit,
            help=f"how fast it {verb}, in bit/s, such as 10M; 0 for no limit",
        )
    parser.add_argument("--network", default="", help="the network; required if it is on several")
    parser.add_argument("--ifname", default="", help="the interface; required if it has several there")


def _parse_limit(text: str) -> tuple[int, int]:
    """Parse a rate and what may come at once, 0 for what the plugin chooses."""
    rate, colon, burst = text.partition(":")
    try:
        return parse_bits(rate), parse_bits(burst) if colon else 0
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.attachments import Caller
    from shibafu.networks.kernel import open_kernel
    from shibafu.networks.traffic_limits import change_limits

    given = {way: getattr(arguments, way) for way in LIMIT_VERBS}
    changes = {way: limit for way, limit in given.items() if limit is not None}
    if not changes:
        raise UsageError("no limit is specified", "use --ingress, --egress or both, such as --ingress 10M")
    with open_kernel() as kernel:
        caller = Caller.of_directories(kernel, context)
        network, endpoint = _choose_interface(context, caller, arguments)
        config = change_limits(caller.runtime, network, endpoint, changes)
    limits = {"ingress": config.ingress, "egress": config.egress}
    document: dict[str, object] = {
        "network": network.name,
        "containerID": endpoint.container_id,
        "ifname": endpoint.ifname,
    }
    for way, limit in limits.items():
        document[way] = {"rate": limit.rate, "burst": limit.burst} if limit is not None else None
    context.out.data(document)
    told = [
        f"{verb} {f'at most {render_rate(limit.rate)}' if limit is not None else 'without a limit'}"
        for verb, limit in zip(LIMIT_VERBS.values(), limits.values(), strict=True)
    ]
    where = f"{endpoint.container_id}: {endpoint.ifname} on network {network.name}"
    context.out.text(f"{where} {' and '.join(told)}")
    return 0


def _choose_interface(
    context: Context, caller: "Caller", arguments: Namespace
) -> tuple["ConfiguredNetwork", "Endpoint"]:
    """Return the interface that is meant, and its network."""
    from shibafu.networks.attachments import choose_endpoints
    from shibafu.networks.configured import load_networks

    networks = load_networks(context.conf_dir, [arguments.network] if arguments.network else [], [])
    endpoints = {network.name: caller.find_endpoints(network) for network in networks}
    everything = [endpoint for found in endpoints.values() for endpoint in found]
    meant = choose_endpoints(everything, arguments.container)
    if not meant:
        where = f"network {arguments.network}" if arguments.network else "any network"
        raise CommandError(
            f"{arguments.container} is not on {where}", "`shibafu network inspect` shows who is"
        )
    found = [
        (network, endpoint)
        for network in networks
        for endpoint in endpoints[network.name]
        if endpoint in meant and arguments.ifname in ("", endpoint.ifname)
    ]
    if len(found) == 1:
        return found[0]
    them = ", ".join(
        f"{one.ifname} on {network.name}"
        for network in networks
        for one in endpoints[network.name]
        if one in meant
    )
    if not found:
        raise CommandError(
            f"{meant[0].container_id} has no interface {arguments.ifname}", f"its interfaces: {them}"
        )
    raise CommandError(
        f"{meant[0].container_id} has several interfaces: {them}", "name one: --network, --ifname or both"
    )


SUBCOMMAND = Subcommand(
    "limit",
    "limit how fast a container receives and sends",
    "Limit how fast a running container receives (--ingress) and sends (--egress), in bit/s with K, M or G;\n"
    "after a colon, the burst size in bits. A limit that is not given stays as it is. The limits are those\n"
    "of shibafu-bandwidth, and last until the container is detached.",
    (
        "shibafu network limit web --ingress 10M --egress 10M",
        "shibafu network limit web --egress 0             # no limit",
        "shibafu network limit web --ingress 1G:64M --network blue --ifname eth1",
    ),
    _run,
    _add_arguments,
)
