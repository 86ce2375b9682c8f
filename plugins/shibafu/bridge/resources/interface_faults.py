"""What is wrong with the container's side of an attachment: ADD does not look, it makes."""

from shibafu.bridge.resources.container_routes import find_lost_subnets, find_route_faults
from shibafu.netlink.constants import DEVCONF_ACCEPT_RA, DEVCONF_AUTOCONF, IFF_NOARP
from shibafu.netlink.link import Link
from shibafu.resource.base import MEND, Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from shibafu.bridge.resources.interface import ContainerInterface
    from shibafu.resource.view import View


def find_interface_faults(view: "View", interface: "ContainerInterface") -> "Iterator[Fault]":
    """Yield what is wrong with a container's interface."""
    inside, ifname = view.inside, interface.attachment.ifname
    link = inside.link(ifname) if inside is not None else None
    port = view.link(interface.port)
    if inside is None or (link is None and port is None):
        return  # both ends come together, and the port tells
    if link is None:
        yield Fault(
            f"interface {ifname} of the container is missing",
            "somebody renamed or moved it; put it back, or attach the container again",
            is_mendable=False,
        )
        return
    if link.kind != "veth" or port is None or link.peer != port.index:
        yield Fault(
            f"interface {ifname} is not the other end of {interface.port}",
            "another process created it; remove it and attach the container again",
            is_mendable=False,
        )
        return
    if not link.up and not interface.attachment.config.disable_container_interface:
        yield Fault(f"interface {ifname} of the container is down")
    if link.flags & IFF_NOARP:
        yield Fault(f"interface {ifname} does not answer ARP requests", f"ARP was switched off; {MEND}")
    mac = interface.find_mac()
    if mac and link.mac.hex(":") != mac:
        yield Fault(f"interface {ifname} has the hardware address {link.mac.hex(':')}, not {mac}")
    # A later plugin of the chain may have set a lower one, which no result tells.
    if link.mtu > (mtu := interface.attachment.config.mtu or link.mtu):
        yield Fault(
            f"interface {ifname} has an MTU of {link.mtu}, which is more than {mtu}",
            f"frames larger than the other end accepts are dropped; {MEND}",
        )
    present = inside.addresses(link)
    for ip in interface.own_ips():
        if (ip.address.address.packed, ip.address.prefix) not in present:
            yield Fault(f"address {ip.address} is missing on {ifname}")
    for address in find_lost_subnets(inside, link, [ip.address for ip in interface.own_ips()]):
        yield Fault(f"route to {address.network} is missing in the container")
    for route in interface.result.routes:
        yield from find_route_faults(inside, link, route)
    if interface.refuses_routers():
        yield from _find_advertisement_faults(link)


def _find_advertisement_faults(link: Link) -> "Iterator[Fault]":
    for name, switch in (("accept_ra", DEVCONF_ACCEPT_RA), ("autoconf", DEVCONF_AUTOCONF)):
        if link.inet6_conf(switch):
            yield Fault(
                f"interface {link.name} accepts router advertisements, which any neighbour can send",
                f'{name} is on; switch it off in the container, or set the key "acceptRA"',
            )
            return
