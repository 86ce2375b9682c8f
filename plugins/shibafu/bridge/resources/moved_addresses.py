"""Addresses of the host that an uplink had, and that are the bridge's while the link is its uplink.

A port of a bridge does not answer at its own addresses. In the order in which the least is lost, what the
link has is remembered; the bridge gets the addresses, and frames for them as soon as the link is its port;
the routes are added through the bridge, before those through the link, which go at last. Killed between any
two steps, the next ADD or repair goes on. `network rm` gives everything back in the same way.
"""

from errno import EADDRNOTAVAIL, EEXIST, ENODEV, ESRCH

from shibafu.bridge.resources.moved_record import (
    MovedLink,
    find_moved_link,
    forget_moved,
    read_moved,
    write_moved,
)
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.netlink.address import addr_list, parse_addr
from shibafu.netlink.constants import IFA_F_NOPREFIXROUTE, IFA_F_PERMANENT, RTPROT_RA
from shibafu.netlink.inet import ip_text
from shibafu.netlink.link import Link
from shibafu.netlink.link_requests import link_set
from shibafu.netlink.replay import (
    addr_discard,
    addr_restore,
    addr_save,
    addr_text,
    calc_route_key,
    has_gateway,
    list_shared_routes,
    route_discard,
    route_restore,
    route_save,
    route_text,
)
from shibafu.netlink.route import parse_kernel_route
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shibafu.bridge.config import BridgeConfig


def refuse_movement(sock: NetlinkSocket, link: Link, masters: list[int]) -> CniError | None:
    """Return why what a link has cannot be moved to the bridge, one of the masters; None if it can be."""
    saved = addr_save(sock, link.index)
    for one in saved:
        if not _is_permanent(one):
            what = f"uplink {link.name} has the address {addr_text(one)} for a limited time"
            advice = (
                "what renews it, such as a DHCP client, would look for it on the link: have it run on the "
                "bridge instead, or configure the address without a lifetime"
            )
            return CniError(INVALID_CONFIG, what, advice)
    routes = _list_routes(sock, link, saved)
    if any(parse_kernel_route(route).protocol == RTPROT_RA for route in routes):
        what = f"uplink {link.name} has routes from router advertisements, which a bridge does not accept"
        return CniError(INVALID_CONFIG, what, "configure these routes, or name another uplink")
    for route, hops in list_shared_routes(sock, link.index):
        # In IPv6, the route through the bridge is one more next hop, until the one through the link is gone.
        if not any(hops == {link.index, master} for master in masters):
            where = route_text(route)
            what = f"uplink {link.name} is in the route {where}, whose next hops are several, or objects"
            advice = "make routes of it that each lead through one link, or name another uplink"
            return CniError(INVALID_CONFIG, what, advice)
    return None


def select_moved(config: "BridgeConfig") -> "set[tuple[bytes, int]]":
    """Return the addresses that a network's bridge has of its uplinks."""
    return {_calc_key(one) for moved in read_moved(config.bridge) for one in moved.addresses}


def find_movement_faults(sock: NetlinkSocket, bridge: Link, links: "Iterable[Link]") -> "Iterator[Fault]":
    """Yield what a bridge's uplinks still have, and what it lacks of what they had."""
    for link in links:
        for one in addr_save(sock, link.index):
            what = f"address {addr_text(one)} is on uplink {link.name}, and not on bridge {bridge.name}"
            if _is_permanent(one):
                yield Fault(what)
            else:
                advice = f"something renews it there, such as a DHCP client: have it run on {bridge.name}"
                yield Fault(what, advice, is_mendable=False)
    present = {(one.ip, one.prefix) for one in addr_list(sock, bridge.index)}
    routes = [calc_route_key(route) for route in route_save(sock, bridge.index, with_kernels=True)]
    for moved in read_moved(bridge.name):
        for one in moved.addresses:
            if _calc_key(one) not in present:
                text = addr_text(one)
                yield Fault(f"address {text}, which an uplink had, is missing on bridge {bridge.name}")
        for route in moved.routes:
            if calc_route_key(route) not in routes:
                where = f"the route {route_text(route)}"
                yield Fault(f"{where}, which led through an uplink, is missing on bridge {bridge.name}")


def move_addresses(sock: NetlinkSocket, bridge: Link, links: "Iterable[Link]") -> bool:
    """Give a bridge the addresses of its uplinks, before one is its port; return whether there are any.

    The lock of uplinks is held.

    Raises:
        NetlinkError: the kernel refuses.
        OSError: they cannot be remembered.
        CniError: others could write to the directory.
    """
    remembered = read_moved(bridge.name)
    is_new = False
    for link in links:
        saved = addr_save(sock, link.index)
        addresses = [one for one in saved if _is_permanent(one)]
        if addresses:
            is_new = True
            _remember(remembered, link, addresses, _list_routes(sock, link, saved))
    if is_new:
        write_moved(bridge.name, remembered)
    if not bridge.up:
        sock.request(link_set(bridge.index, up=True))
    wanted = [one for moved in remembered for one in moved.addresses]
    _add_addresses(sock, bridge.index, wanted, has_label=False)
    return bool(wanted)


def _remember(remembered: list[MovedLink], link: Link, addresses: list[bytes], routes: list[bytes]) -> None:
    """Add to what is remembered what a link has.

    What an interrupted call has remembered comes first: not all of it is on the link any more.
    """
    moved = next((one for one in remembered if one.describes(link)), None)
    if moved is None:
        remembered.append(MovedLink(link.index, link.name, link.mac, addresses, routes))
        return
    moved.index, moved.name, moved.mac = link.index, link.name, link.mac
    known = {_calc_key(one) for one in moved.addresses}
    moved.addresses += [one for one in addresses if _calc_key(one) not in known]
    known_routes = {calc_route_key(route) for route in moved.routes}
    moved.routes += [route for route in routes if calc_route_key(route) not in known_routes]


def finish_movement(sock: NetlinkSocket, bridge: Link) -> None:
    """Move the routes, and take the addresses from the links, once one is a port; the lock is held.

    Raises:
        NetlinkError: the kernel refuses.
        OSError: neighbours cannot be told.
    """
    for moved in read_moved(bridge.name):
        link = find_moved_link(sock, moved)
        _add_routes(sock, bridge.index, moved.routes)
        if link is None:
            continue
        present = {(one.ip, one.prefix) for one in addr_list(sock, link.index)}
        # The routes of the kernel go with them; a secondary address may have gone with the first one.
        _delete_addresses(sock, link.index, [one for one in moved.addresses if _calc_key(one) in present])
        _delete_routes(sock, link.index, moved.routes)
        if present:
            _announce(bridge, moved.addresses)


def list_stranded(sock: NetlinkSocket, bridge: str, index: int) -> list[tuple[str, list[str]]]:
    """Return what `give_back` would give to nobody: links that are gone, each with its addresses.

    Args:
        sock: a socket of the namespace.
        bridge: the bridge's name.
        index: its number; 0 where it is gone.
    """
    lost = [moved for moved in read_moved(bridge) if _find_owner(sock, moved, index) is None]
    return [(moved.name, [addr_text(one) for one in moved.addresses]) for moved in lost]


def _find_owner(sock: NetlinkSocket, moved: MovedLink, bridge: int) -> Link | None:
    """Return the link that had addresses; None if it was unplugged, or is part of something else."""
    link = find_moved_link(sock, moved)
    return link if link is not None and link.master in (0, bridge) else None


def give_back(sock: NetlinkSocket, bridge: str, index: int) -> None:
    """Give links back what they had, when the bridge is about to be deleted; the lock is held.

    Args:
        sock: a socket of the namespace.
        bridge: the bridge's name.
        index: its number; 0 where somebody has deleted it, and with it the addresses.

    Raises:
        NetlinkError: the kernel refuses.
        OSError: neighbours cannot be told.
    """
    for moved in read_moved(bridge):
        link = _find_owner(sock, moved, index)
        if link is None:
            continue  # its addresses go with the bridge; see `list_stranded`
        # Its label is the name that it had, unless it has been renamed.
        _add_addresses(sock, link.index, moved.addresses, has_label=link.name == moved.name)
        sock.request(link_set(link.index, up=True, master=0))
        _add_routes(sock, link.index, moved.routes)
        if index:
            _delete_addresses(sock, index, moved.addresses)
            _delete_routes(sock, index, moved.routes)
        _announce(link, moved.addresses)
    forget_moved(bridge)


def _list_routes(sock: NetlinkSocket, link: Link, addresses: list[bytes]) -> list[bytes]:
    """Return the routes through a link that do not come with its addresses.

    Where one comes without its route, somebody else, such as NetworkManager, may have made that in the
    kernel's name.
    """
    with_kernels = any(parse_addr(one).flags & IFA_F_NOPREFIXROUTE for one in addresses)
    return route_save(sock, link.index, with_kernels)


def _is_permanent(address: bytes) -> bool:
    return bool(parse_addr(address).flags & IFA_F_PERMANENT)


def _calc_key(saved: bytes) -> tuple[bytes, int]:
    address = parse_addr(saved)
    return (address.ip, address.prefix)


def _add_addresses(sock: NetlinkSocket, index: int, addresses: "Iterable[bytes]", *, has_label: bool) -> None:
    sock.request_all([addr_restore(index, one, has_label).ignoring(EEXIST) for one in addresses])


def _delete_addresses(sock: NetlinkSocket, index: int, addresses: "Iterable[bytes]") -> None:
    for one in addresses:
        sock.request(addr_discard(index, one).ignoring(EADDRNOTAVAIL, ENODEV))


def _add_routes(sock: NetlinkSocket, index: int, routes: list[bytes]) -> None:
    """Add routes, those first that others need: a gateway has to be reachable."""
    for route in sorted(routes, key=has_gateway):
        sock.request(route_restore(index, route).ignoring(EEXIST))


def _delete_routes(sock: NetlinkSocket, index: int, routes: list[bytes]) -> None:
    for route in routes:
        sock.request(route_discard(index, route).ignoring(ESRCH, ENODEV))


def _announce(link: Link, addresses: "Iterable[bytes]") -> None:
    """Tell neighbours that addresses have a link's hardware address: gratuitous ARP, unsolicited NA.

    See RFC 5227, section 3, and RFC 4861, section 7.2.6.
    """
    import _socket

    for ip in (parse_addr(one).ip for one in addresses):
        try:
            if len(ip) == 4:
                request = bytes.fromhex("08060001080006040001") + link.mac + ip + bytes(6) + ip
                kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
                sock = _socket.socket(_socket.AF_PACKET, kind, 0)
                sock.bind((link.name, 0))
                sock.send(b"\xff" * 6 + link.mac + request)
            else:
                # Type, code, checksum, which the kernel fills in, and that it overrides what is known.
                advertisement = bytes.fromhex("8800000020000000") + ip + b"\x02\x01" + link.mac
                kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
                sock = _socket.socket(_socket.AF_INET6, kind, _socket.IPPROTO_ICMPV6)
                sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_MULTICAST_HOPS, 255)
                sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_MULTICAST_IF, link.index)
                sock.bind((ip_text(ip), 0))
                sock.sendto(advertisement, ("ff02::1", 0))
            sock.close()
        except OSError:
            continue  # they find out by themselves, later
