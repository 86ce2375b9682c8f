"""`shibafu overlay inspect`."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from shibafu.cli.container.ps import format_age
from shibafu.cli.output import Output
from shibafu.cli.overlay.agent_options import add_config, load_overlays
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.text import format_count

if TYPE_CHECKING:
    from shibafu.overlay.inspection import OverlayView


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", help="which network")
    add_config(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.overlay.inspection import inspect_overlay

    (settings,) = load_overlays(arguments.config, arguments.network)
    view = inspect_overlay(settings)
    context.out.data(view.describe())
    _print(context.out, view)
    return 0


def _print(out: Output, view: "OverlayView") -> None:
    network, own = view.network, view.own
    ranges = " and ".join(
        f"{one.network} in subnets of /{one.length}, for {one.count} hosts" for one in network.ranges
    )
    more = "".join(
        word
        for word, is_so in ((", direct routing", network.direct_routing), (", GBP", network.gbp))
        if is_so
    )
    out.text(f"{out.style.paint('bold', view.settings.name)}  {view.settings.prefix} at {view.endpoint}")
    out.text(f"{ranges}; VNI {network.vni}, UDP port {network.port}{more}")
    for fault in view.faults:
        out.text(out.style.paint("red", f"✗ {fault}"))
    if own is not None:
        subnets = " and ".join(str(subnet) for subnet in (own.subnet, own.subnet6) if subnet is not None)
        times = "reserved" if view.is_reserved else "expired"
        if view.time is not None:
            age, left = format_age(view.time.age), format_age(view.time.left)
            times = f"renewed {age} ago, ends in {left}"
        out.text(f"\nthis host: {subnets} at {own.public_ip} ({view.outer.name}), {times}")
    for device in view.devices:
        link = device.link
        said = f"{link.mac.hex(':')}, mtu {link.mtu}" if link is not None else "missing"
        out.text(f"  {device.wanted.name}: {said}")
    out.text(f"\n{format_count(len(view.peers), 'other host')}")
    rows = [
        [
            str(peer.lease.public_ip),
            str(peer.lease.subnet),
            str(peer.lease.subnet6 or "-"),
            peer.lease.backend,
            f"{len(peer.entries) - len(peer.missing)} of {len(peer.entries)}",
        ]
        for peer in view.peers
    ]
    if rows:
        out.table(("HOST", "SUBNET", "IPV6 SUBNET", "BACKEND", "KERNEL ENTRIES"), rows)


SUBCOMMAND = Subcommand(
    "inspect",
    "show a network as etcd and this host have it",
    "Show the description of a network, this host's subnet and how long it is kept, the VXLAN devices, the\n"
    "other hosts with how much the kernel has of what it needs to reach them, and what is wrong. With\n"
    "--format json the entries of the kernel are listed. The other hosts are not asked.",
    ("shibafu overlay inspect blue", "shibafu overlay inspect blue --format json | jq .faults"),
    _run,
    _add_arguments,
)
