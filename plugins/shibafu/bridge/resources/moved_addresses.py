"""Addresses of the host that an uplink had, and that are the bridge's while the link is its uplink.

A port of a bridge does not answer at its own addresses. In the order in which the least is lost, what the
link has is remembered; the bridge gets the addresses, and frames for them as soon as the link is its port;
the routes are added through the bridge, before those through the link, which go at last. Killed between any
two steps, the next ADD or repair goes on. `network rm` gives everything back in the same way.

The record is `/run/shibafu/moved/<inode of the namespace>-<bridge>`. It is of a name and not of a number:
the addresses are put on another bridge of that name if the first one is deleted.
"""

import os
from errno import EADDRNOTAVAIL, EEXIST, ENODEV, ESRCH

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.cni.errors import INVALID_CONFIG, IO_FAILURE, CniError
from shibafu.lean.files import read_file, remove_file, replace_file
from shibafu.lean.json import dumps, loads
from shibafu.netlink.address import Addr, addr_add, addr_del, addr_list
from shibafu.netlink.constants import (
    AF_INET6,
    IFA_F_PERMANENT,
    RT_SCOPE_LINK,
    RT_TABLE_LOCAL,
    RTN_UNICAST,
    RTPROT_KERNEL,
    RTPROT_RA,
)
from shibafu.netlink.inet import ip_text
from shibafu.netlink.link import Link, link_by_index
from shibafu.netlink.link_requests import link_set
from shibafu.netlink.route import Route, route_add_like, route_del_like, route_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import Fault
from shibafu.resource.home import calc_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from shibafu.bridge.config import BridgeConfig

_ROOT = "/run/shibafu"
_DIRECTORY = f"{_ROOT}/moved"
_LARGEST = 1 << 20


class MovedLink:
    """What a link had before it became an uplink.

    Args:
        index: its number.
        addresses: each with the length of its prefix and its scope.
        routes: through it.
    """

    __slots__ = ("addresses", "index", "routes")

    def __init__(self, index: int, addresses: "list[tuple[bytes, int, int]]", routes: list[Route]) -> None:
        self.index = index
        self.addresses = addresses
        self.routes = routes


def list_own_addresses(sock: NetlinkSocket, link: Link) -> list[Addr]:
    """Return a link's addresses, without link-local ones of IPv6, which each link has."""
    found = addr_list(sock, link.index)
    return [one for one in found if one.family != AF_INET6 or one.scope != RT_SCOPE_LINK]


def refuse_movement(sock: NetlinkSocket, link: Link) -> CniError | None:
    """Return why what a link has cannot be moved; None if it can be."""
    for address in list_own_addresses(sock, link):
        if not address.flags & IFA_F_PERMANENT:
            text = f"{ip_text(address.ip)}/{address.prefix}"
            what = f"uplink {link.name} has the address {text} for a limited time"
            advice = (
                "what renews it, such as a DHCP client, would look for it on the link: have it run on the "
                "bridge instead, or configure the address without a lifetime"
            )
            return CniError(INVALID_CONFIG, what, advice)
    if any(route.protocol == RTPROT_RA for route in _list_routes(sock, link)):
        what = f"uplink {link.name} has routes from router advertisements, which a bridge does not accept"
        return CniError(INVALID_CONFIG, what, "configure these routes, or name another uplink")
    return None


def select_moved(config: "BridgeConfig") -> "set[tuple[bytes, int]]":
    """Return the addresses that a network's bridge has of its uplinks."""
    return {(ip, prefix) for moved in _read(config.bridge) for ip, prefix, _ in moved.addresses}


def find_movement_faults(sock: NetlinkSocket, bridge: Link, links: "Iterable[Link]") -> "Iterator[Fault]":
    """Yield what a bridge's uplinks still have, and what it lacks of what they had."""
    for link in links:
        for address in list_own_addresses(sock, link):
            text = f"{ip_text(address.ip)}/{address.prefix}"
            what = f"address {text} is on uplink {link.name}, and not on bridge {bridge.name}"
            if address.flags & IFA_F_PERMANENT:
                yield Fault(what)
            else:
                advice = f"something renews it there, such as a DHCP client: have it run on {bridge.name}"
                yield Fault(what, advice, is_mendable=False)
    present = {(one.ip, one.prefix) for one in addr_list(sock, bridge.index)}
    routes = [_calc_key(route) for route in _list_routes(sock, bridge)]
    for moved in _read(bridge.name):
        for ip, prefix, _ in moved.addresses:
            if (ip, prefix) not in present:
                text = f"{ip_text(ip)}/{prefix}"
                yield Fault(f"address {text}, which an uplink had, is missing on bridge {bridge.name}")
        for route in moved.routes:
            if _calc_key(route) not in routes:
                where = f"{ip_text(route.dst)}/{route.dst_prefix}" if route.dst else "the default route"
                yield Fault(f"{where}, which led through an uplink, is missing on bridge {bridge.name}")


def move_addresses(sock: NetlinkSocket, bridge: Link, links: "Iterable[Link]") -> bool:
    """Give a bridge the addresses of its uplinks, before one is its port; return whether there are any.

    The lock of uplinks is held.

    Raises:
        NetlinkError: the kernel refuses.
        OSError: they cannot be remembered.
        CniError: others could write to the directory.
    """
    remembered = {moved.index: moved for moved in _read(bridge.name)}
    is_new = False
    for link in links:
        own = [one for one in list_own_addresses(sock, link) if one.flags & IFA_F_PERMANENT]
        addresses = [(one.ip, one.prefix, one.scope) for one in own]
        if addresses:
            is_new = True
            former = remembered.get(link.index, MovedLink(link.index, [], []))
            known = {_calc_key(route) for route in former.routes}
            routes = [one for one in _list_routes(sock, link) if _calc_key(one) not in known]
            others = [one for one in addresses if one not in former.addresses]
            # What an interrupted call has remembered comes first: not all of it is on the link any more.
            remembered[link.index] = MovedLink(link.index, former.addresses + others, former.routes + routes)
    if is_new:
        _write(bridge.name, list(remembered.values()))
    if not bridge.up:
        sock.request(link_set(bridge.index, up=True))
    wanted = [one for moved in remembered.values() for one in moved.addresses]
    _add_addresses(sock, bridge.index, wanted)
    return bool(wanted)


def finish_movement(sock: NetlinkSocket, bridge: Link) -> None:
    """Move the routes, and take the addresses from the links, once one is a port; the lock is held.

    Raises:
        NetlinkError: the kernel refuses.
        OSError: neighbours cannot be told.
    """
    for moved in _read(bridge.name):
        link = link_by_index(sock, moved.index)
        _add_routes(sock, bridge.index, moved.routes)
        present = (
            {(one.ip, one.prefix) for one in addr_list(sock, moved.index)} if link is not None else set()
        )
        for ip, prefix, _ in moved.addresses if present else ():
            if (ip, prefix) in present:
                # The routes of the kernel go with it; a secondary address may have gone with the first one.
                sock.request(addr_del(moved.index, ip, prefix).ignoring(EADDRNOTAVAIL, ENODEV))
        if link is not None:
            _delete_routes(sock, moved.index, moved.routes)
        if present:
            _announce(bridge, [ip for ip, _, _ in moved.addresses])


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
    for moved in _read(bridge):
        link = link_by_index(sock, moved.index)
        if link is None:
            continue  # it was unplugged, and its addresses go with the bridge
        _add_addresses(sock, moved.index, moved.addresses)
        sock.request(link_set(moved.index, up=True, master=0))
        _add_routes(sock, moved.index, moved.routes)
        if index:
            for ip, prefix, _ in moved.addresses:
                sock.request(addr_del(index, ip, prefix).ignoring(EADDRNOTAVAIL, ENODEV))
            _delete_routes(sock, index, moved.routes)
        _announce(link, [ip for ip, _, _ in moved.addresses])
    remove_file(_calc_place(bridge))


def _list_routes(sock: NetlinkSocket, link: Link) -> list[Route]:
    """Return the routes through a link that somebody has made: the kernel's come with addresses."""
    found = route_list(sock, link.index, table=None)
    return [
        one
        for one in found
        if one.protocol != RTPROT_KERNEL and one.type == RTN_UNICAST and one.table != RT_TABLE_LOCAL
    ]


def _add_addresses(sock: NetlinkSocket, index: int, addresses: "Iterable[tuple[bytes, int, int]]") -> None:
    sock.request_all(
        [addr_add(index, ip, prefix, scope=scope).ignoring(EEXIST) for ip, prefix, scope in addresses]
    )


def _add_routes(sock: NetlinkSocket, index: int, routes: list[Route]) -> None:
    """Add routes, those first that others need: a gateway has to be reachable."""
    for route in sorted(routes, key=lambda route: route.gateway is not None):
        # Before the same one through the link, which is deleted afterwards.
        sock.request(route_add_like(route, index=index, exclusive=False).ignoring(EEXIST))


def _delete_routes(sock: NetlinkSocket, index: int, routes: list[Route]) -> None:
    for route in routes:
        sock.request(route_del_like(route, index=index).ignoring(ESRCH, ENODEV))


def _announce(link: Link, addresses: list[bytes]) -> None:
    """Tell neighbours that addresses have a link's hardware address: gratuitous ARP, unsolicited NA.

    See RFC 5227, section 3, and RFC 4861, section 7.2.6.
    """
    import _socket

    for ip in addresses:
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


def _calc_key(route: Route) -> "tuple[object, ...]":
    return (route.family, route.dst, route.dst_prefix, route.gateway, route.priority, route.table)


_ROUTE_NUMBERS = ("family", "dst_prefix", "priority", "table", "scope", "protocol", "flags", "mtu", "advmss")
_ROUTE_ADDRESSES = ("dst", "gateway", "source")


def _write(bridge: str, links: list[MovedLink]) -> None:
    document = {
        "namespace": calc_mark(),
        "links": [
            {
                "index": moved.index,
                "addresses": [[ip.hex(), prefix, scope] for ip, prefix, scope in moved.addresses],
                "routes": [
                    {name: getattr(route, name) for name in _ROUTE_NUMBERS}
                    | {name: (getattr(route, name) or b"").hex() for name in _ROUTE_ADDRESSES}
                    for route in moved.routes
                ],
            }
            for moved in links
        ],
    }
    secure_directories(_ROOT, _DIRECTORY)
    make_directory(_DIRECTORY, 0o700)
    replace_file(_calc_place(bridge), dumps(document).encode())


def _read(bridge: str) -> list[MovedLink]:
    """Return what uplinks of a bridge had; nothing where it is of another namespace, or cannot be read."""
    content = read_file(_calc_place(bridge), _LARGEST)
    if content is None:
        return []
    try:
        document: Any = loads(content)
        if document["namespace"] != calc_mark():
            return []
        return [
            MovedLink(
                one["index"],
                [(bytes.fromhex(ip), prefix, scope) for ip, prefix, scope in one["addresses"]],
                [_parse_route(one["index"], stated) for stated in one["routes"]],
            )
            for one in document["links"]
        ]
    except (KeyError, TypeError, ValueError):
        path = _calc_place(bridge)
        advice = "delete the file, and put back by hand what the uplinks had"
        raise CniError(IO_FAILURE, f"{path} does not say which addresses were moved", advice) from None


def _parse_route(index: int, stated: "dict[str, Any]") -> Route:
    dst, gateway, source = (bytes.fromhex(stated[name]) or None for name in _ROUTE_ADDRESSES)
    return Route(
        index,
        stated["family"],
        dst,
        stated["dst_prefix"],
        gateway,
        stated["priority"],
        stated["table"],
        stated["scope"],
        RTN_UNICAST,
        stated["protocol"],
        stated["flags"],
        source,
        stated["mtu"],
        stated["advmss"],
    )


def _calc_place(bridge: str) -> str:
    return f"{_DIRECTORY}/{os.stat('/proc/self/ns/net').st_ino}-{bridge}"
