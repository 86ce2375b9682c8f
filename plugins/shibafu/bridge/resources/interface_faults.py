"""What is wrong with the container's side of an attachment: ADD does not look, it makes."""

from shibafu.bridge.resources.container_routes import find_lost_subnets, find_route_faults
from shibafu.netlink.constants import DEVCONF_ACCEPT_RA, DEVCONF_AUTOCONF, IFF_NOARP
from shibafu.netlink.link import Link
from shibafu.netlink.link_requests import link_set
from shibafu.resource.base import MEND, Fault

# What both ends of a link are made with (ether_setup in net/ethernet/eth.c).
_DEFAULT_MTU = 1500

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
            "it was renamed or moved; put it back, or attach the container again",
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
        yield Fault(f"interface {ifname} does not answer ARP requests", f"ARP was turned off; {MEND}")
    mac = interface.find_mac()
    if mac and link.mac.hex(":") != mac:
        yield Fault(f"interface {ifname} has the hardware address {link.mac.hex(':')}, not {mac}")
    # A later plugin of the chain may have set a lower one, which no result tells.
    if link.mtu > (mtu := interface.attachment.config.mtu or port.mtu):
        yield Fault(
            f"interface {ifname} has an MTU of {link.mtu}, which is more than {mtu}",
            f"frames larger than the other end accepts are dropped; {MEND}",
        )
    present = inside.addresses(link)
    for ip in interface.own.ips:
        if (ip.address.address.packed, ip.address.prefix) not in present:
            yield Fault(f"address {ip.address} is missing on {ifname}")
    for address in find_lost_subnets(inside, link, [ip.address for ip in interface.own.ips]):
        yield Fault(f"route to {address.network} is missing in the container")
    for route in interface.own.routes:
        yield from find_route_faults(inside, link, route)
    if interface.refuses_routers():
        yield from _find_advertisement_faults(link)


def mend_mtu(view: "View", interface: "ContainerInterface", link: Link) -> None:
    """Make both ends of a container's link agree, so that none sends larger packets than the other takes.

    Where the configuration states no MTU, the host's end is the one that was changed if it takes less than
    what both were made with, and else the container's is.

    Raises:
        NetlinkError: the kernel refuses.
    """
    inside, port, mtu = view.inside, view.link(interface.port), interface.attachment.config.mtu
    if inside is None or port is None:
        return
    if not mtu:
        mtu = max(port.mtu, min(link.mtu, _DEFAULT_MTU))
        if port.mtu < mtu:
            view.sock.request(link_set(port.index, mtu=mtu))
    if mtu < link.mtu:
        inside.sock.request(link_set(link.index, mtu=mtu))


def _find_advertisement_faults(link: Link) -> "Iterator[Fault]":
    for name, switch in (("accept_ra", DEVCONF_ACCEPT_RA), ("autoconf", DEVCONF_AUTOCONF)):
        if link.inet6_conf(switch):
            yield Fault(
                f"interface {link.name} accepts router advertisements, which any neighbour can send",
                f'{name} is on; turn it off in the container, or set the key "acceptRA"',
            )
            return
