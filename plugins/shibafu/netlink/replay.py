"""Addresses and routes exactly as they are, to be made again on another link.

What the kernel dumps is kept as it is and sent back, as `ip address save` and `ip route save` do: also what
nothing here knows, such as the metrics of a route or the other end of a point-to-point address.
"""

from struct import Struct

from shibafu.netlink.address import IFADDRMSG, parse_addr
from shibafu.netlink.codec import attr, attr_u32, parse_attrs, parse_header
from shibafu.netlink.constants import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    IFA_F_MCAUTOJOIN,
    IFA_F_NODAD,
    IFA_F_NOPREFIXROUTE,
    IFA_FLAGS,
    IFA_LABEL,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RT_SCOPE_LINK,
    RT_TABLE_UNSPEC,
    RTA_CACHEINFO,
    RTA_DST,
    RTA_GATEWAY,
    RTA_MULTIPATH,
    RTA_NH_ID,
    RTA_OIF,
    RTA_PRIORITY,
    RTA_SRC,
    RTA_TABLE,
    RTA_VIA,
    RTM_DELADDR,
    RTM_DELROUTE,
    RTM_GETADDR,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWROUTE,
    RTN_LOCAL,
    RTN_UNICAST,
    RTNH_F_ONLINK,
    RTPROT_KERNEL,
)
from shibafu.netlink.inet import ip_text
from shibafu.netlink.route import RTMSG, Route, parse_kernel_route
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

# What is asked of an address; the others say what has become of it.
_ASKED_FLAGS = IFA_F_NOPREFIXROUTE | IFA_F_MCAUTOJOIN
# length, flags, weight, number of the link
_NEXT_HOP = Struct("=HBBi")


def addr_save(sock: NetlinkSocket, index: int) -> list[bytes]:
    """Return a link's addresses as they are, without link-local ones of IPv6, which each link has.

    Raises:
        NetlinkError: ENODEV if there is no such link.
    """
    payload = IFADDRMSG.pack(AF_UNSPEC, 0, 0, 0, index)
    entries = sock.dump(NetlinkRequest(RTM_GETADDR, 0, payload, "cannot list addresses"))
    found = ((entry, parse_addr(entry)) for entry in entries)
    return [
        entry
        for entry, address in found
        if address.index == index and (address.family != AF_INET6 or address.scope != RT_SCOPE_LINK)
    ]


def addr_restore(index: int, saved: bytes, has_label: bool) -> NetlinkRequest:
    """Request an address as it was, usable at once; see `addr_save`.

    Args:
        index: the link's.
        saved: the address.
        has_label: whether it has its label, which may be the name of the link that it was on.
    """
    family, prefix, _, scope, _ = parse_header(IFADDRMSG, saved)
    attrs = parse_attrs(saved, IFADDRMSG.size)
    flags = parse_addr(saved).flags & _ASKED_FLAGS | (IFA_F_NODAD if family == AF_INET6 else 0)
    left_out = (IFA_FLAGS,) if has_label else (IFA_FLAGS, IFA_LABEL)
    payload = IFADDRMSG.pack(family, prefix, 0, scope, index) + _pack_others(attrs, left_out)
    what = f"cannot add address {addr_text(saved)}"
    return NetlinkRequest(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, payload + attr_u32(IFA_FLAGS, flags), what)


def addr_discard(index: int, saved: bytes) -> NetlinkRequest:
    """Request that an address be deleted from a link; see `addr_save`."""
    family, prefix, _, scope, _ = parse_header(IFADDRMSG, saved)
    attrs = _pack_others(parse_attrs(saved, IFADDRMSG.size), (IFA_FLAGS, IFA_LABEL))
    payload = IFADDRMSG.pack(family, prefix, 0, scope, index) + attrs
    return NetlinkRequest(RTM_DELADDR, 0, payload, f"cannot delete address {addr_text(saved)}")


def addr_text(saved: bytes) -> str:
    """Return an address with the length of its prefix, for people."""
    address = parse_addr(saved)
    return f"{ip_text(address.ip)}/{address.prefix}"


def route_save(sock: NetlinkSocket, index: int, with_kernels: bool = False) -> list[bytes]:
    """Return the routes through a link that somebody has made, as they are, those of all tables.

    Args:
        sock: a socket of the namespace.
        index: the link's.
        with_kernels: whether also those that say that they are the kernel's.
    """
    return [
        entry
        for entry in _dump_routes(sock, index)
        if (route := parse_kernel_route(entry)).index == index
        and (route.type == RTN_UNICAST or (route.type, route.family) == (RTN_LOCAL, AF_INET))
        and (route.protocol != RTPROT_KERNEL or (with_kernels and _is_of_prefix(route)))
    ]


def list_shared_routes(sock: NetlinkSocket, index: int) -> list[tuple[bytes, set[int]]]:
    """Return the routes through a link that cannot be saved, with the links of their next hops.

    They have several next hops, or one that is an object (ip-nexthop(8)) and has its link by itself.
    """
    found = ((entry, parse_attrs(entry, RTMSG.size)) for entry in _dump_routes(sock, index))
    shared = [(entry, _list_hops(attrs), RTA_NH_ID in attrs) for entry, attrs in found]
    return [(entry, links) for entry, links, is_object in shared if is_object or index in links]


def _list_hops(attrs: dict[int, bytes]) -> set[int]:
    hops, offset = attrs.get(RTA_MULTIPATH, b""), 0
    links = set()
    while offset + _NEXT_HOP.size <= len(hops):
        length, _, _, link = _NEXT_HOP.unpack_from(hops, offset)
        links.add(link)
        offset += max((length + 3) & ~3, _NEXT_HOP.size)
    return links


def route_restore(index: int, saved: bytes) -> NetlinkRequest:
    """Request a route as it was, before one that is the same but for the link; see `route_save`."""
    family, dst_prefix, src_prefix, tos, table, protocol, scope, kind, flags = parse_header(RTMSG, saved)
    header = RTMSG.pack(
        family, dst_prefix, src_prefix, tos, table, protocol, scope, kind, flags & RTNH_F_ONLINK
    )
    return NetlinkRequest(
        RTM_NEWROUTE,
        NLM_F_CREATE,
        header + _pack_route(index, saved),
        f"cannot add route {route_text(saved)}",
    )


def route_discard(index: int, saved: bytes) -> NetlinkRequest:
    """Request that a route through a link be deleted; see `route_save`."""
    payload = saved[: RTMSG.size] + _pack_route(index, saved)
    return NetlinkRequest(RTM_DELROUTE, 0, payload, f"cannot delete route {route_text(saved)}")


def calc_route_key(saved: bytes) -> tuple[object, ...]:
    """Return what distinguishes a route from others through the same link."""
    family, dst_prefix, src_prefix, tos, table, _, _, kind, _ = parse_header(RTMSG, saved)
    attrs = parse_attrs(saved, RTMSG.size)
    number = attrs.get(RTA_TABLE, table)
    addresses = (attrs.get(one) for one in (RTA_DST, RTA_SRC, RTA_GATEWAY, RTA_VIA, RTA_PRIORITY))
    return (family, dst_prefix, src_prefix, tos, number, kind, *addresses)


def has_gateway(saved: bytes) -> bool:
    """Return whether a route leads to a router, which has to be reachable when the route is made."""
    return not parse_attrs(saved, RTMSG.size).keys().isdisjoint((RTA_GATEWAY, RTA_VIA))


def route_text(saved: bytes) -> str:
    """Return where a route leads to, for people."""
    route = parse_kernel_route(saved)
    return f"to {ip_text(route.dst)}/{route.dst_prefix}" if route.dst else "to default"


def _dump_routes(sock: NetlinkSocket, index: int) -> list[bytes]:
    # Kernels before 4.20 know no filter here, and answer with all.
    payload = RTMSG.pack(AF_UNSPEC, 0, 0, 0, RT_TABLE_UNSPEC, 0, 0, 0, 0) + attr_u32(RTA_OIF, index)
    return sock.dump(NetlinkRequest(RTM_GETROUTE, 0, payload, "cannot list routes"))


def _is_of_prefix(route: Route) -> bool:
    """Return whether a route of the kernel's leads to an address's subnet, and not to a link-local one."""
    return route.type == RTN_UNICAST and not (
        route.family == AF_INET6 and (route.dst or b"")[:1] in (b"\xfe", b"\xff")
    )


def _pack_route(index: int, saved: bytes) -> bytes:
    attrs = _pack_others(parse_attrs(saved, RTMSG.size), (RTA_OIF, RTA_CACHEINFO))
    return attrs + attr_u32(RTA_OIF, index)


def _pack_others(attrs: dict[int, bytes], left_out: tuple[int, ...]) -> bytes:
    return b"".join(attr(kind, value) for kind, value in attrs.items() if kind not in left_out)
