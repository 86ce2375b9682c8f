"""Routes."""

from errno import EACCES, EHOSTUNREACH, EINVAL, ENETUNREACH, ENOENT
from struct import Struct

from shibafu.netlink.codec import attr, attr_nested, attr_u32, parse_attrs, parse_header, parse_int
from shibafu.netlink.constants import (
    AF_INET,
    AF_UNSPEC,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RT_SCOPE_LINK,
    RT_SCOPE_NOWHERE,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_MAIN,
    RT_TABLE_UNSPEC,
    RTA_DST,
    RTA_GATEWAY,
    RTA_METRICS,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTA_TABLE,
    RTAX_ADVMSS,
    RTAX_MTU,
    RTM_DELROUTE,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    RTN_UNICAST,
    RTNH_F_ONLINK,
    RTPROT_BOOT,
    RTPROT_UNSPEC,
)
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.inet import calc_family, ip_text
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

# family, lengths of destination's and source's prefix, type of service, table, protocol, scope, type, flags
RTMSG = Struct("=BBBBBBBBI")


class Route:
    """A route as the kernel describes it.

    Args:
        index: The interface it leads through; 0 if there are several or none.
        family: AF_INET or AF_INET6.
        dst: The destination's network address; None for the default route.
        dst_prefix: Length of the destination's prefix in bits.
        gateway: The router; None if the destination is on the link.
        priority: The lower, the better.
        table: Number of the routing table.
        scope: RT_SCOPE_*.
        kind: RTN_*; becomes `type`.
        protocol: RTPROT_*: who made it.
        flags: RTNH_F_* and RTM_F_*.
        source: Source address for packets that have none yet; None if not given.
        mtu: Path MTU in bytes; 0 if not given.
        advmss: Maximum segment size to advertise to TCP peers; 0 if not given.
    """

    __slots__ = (
        "advmss",
        "dst",
        "dst_prefix",
        "family",
        "flags",
        "gateway",
        "index",
        "mtu",
        "priority",
        "protocol",
        "scope",
        "source",
        "table",
        "type",
    )

    def __init__(
        self,
        index: int,
        family: int,
        dst: bytes | None,
        dst_prefix: int,
        gateway: bytes | None,
        priority: int,
        table: int,
        scope: int,
        kind: int,
        protocol: int,
        flags: int,
        source: bytes | None,
        mtu: int,
        advmss: int,
    ) -> None:
        self.index = index
        self.family = family
        self.dst = dst
        self.dst_prefix = dst_prefix
        self.gateway = gateway
        self.priority = priority
        self.table = table
        self.scope = scope
        self.type = kind
        self.protocol = protocol
        self.flags = flags
        self.source = source
        self.mtu = mtu
        self.advmss = advmss


def parse_kernel_route(payload: bytes) -> Route:
    """Decode the payload of RTM_NEWROUTE or RTM_DELROUTE.

    Raises:
        NetlinkDecodeError: it is malformed.
    """
    family, dst_prefix, _, _, table, protocol, scope, kind, flags = parse_header(RTMSG, payload)
    attrs = parse_attrs(payload, RTMSG.size)
    metrics = parse_attrs(attrs.get(RTA_METRICS, b""))
    zero = bytes(4)
    return Route(
        parse_int(attrs.get(RTA_OIF, zero), 4),
        family,
        attrs.get(RTA_DST),
        dst_prefix,
        attrs.get(RTA_GATEWAY),
        parse_int(attrs.get(RTA_PRIORITY, zero), 4),
        parse_int(attrs[RTA_TABLE], 4) if RTA_TABLE in attrs else table,
        scope,
        kind,
        protocol,
        flags,
        attrs.get(RTA_PREFSRC),
        parse_int(metrics.get(RTAX_MTU, zero), 4),
        parse_int(metrics.get(RTAX_ADVMSS, zero), 4),
    )


def route_list(
    sock: NetlinkSocket, index: int | None = None, family: int = AF_UNSPEC, table: int | None = RT_TABLE_MAIN
) -> list[Route]:
    """Return the routes through one interface or all, of one family or both. The kernel filters.

    Args:
        sock: A socket of the namespace.
        index: The interface's.
        family: AF_INET or AF_INET6.
        table: None for all tables, the kernel's own among them.

    Raises:
        NetlinkError: ENODEV if there is no such interface.
    """
    payload = RTMSG.pack(family, 0, 0, 0, RT_TABLE_UNSPEC, 0, 0, 0, 0)
    if index is not None:
        payload += attr_u32(RTA_OIF, index)
    if table is not None:
        payload += attr_u32(RTA_TABLE, table)
    try:
        entries = sock.dump(NetlinkRequest(RTM_GETROUTE, 0, payload, "cannot list routes"))
    except NetlinkError as error:
        # A table is created with its first route.
        if error.errno == ENOENT:
            return []
        raise
    # Kernels before 4.20 know no filter here.
    return [
        route
        for route in map(parse_kernel_route, entries)
        if (index is None or route.index == index) and (table is None or route.table == table)
    ]


def route_get(sock: NetlinkSocket, dst: bytes) -> Route | None:
    """Return the route that packets of the host to an address take; None when they are refused or dropped.

    Args:
        sock: A socket of the namespace.
        dst: The address.

    Raises:
        NetlinkError: the kernel has no such family.
    """
    header = RTMSG.pack(calc_family(dst), len(dst) * 8, 0, 0, RT_TABLE_UNSPEC, 0, 0, 0, 0)
    payload = header + attr(RTA_DST, dst)
    try:
        route = parse_kernel_route(
            sock.get(NetlinkRequest(RTM_GETROUTE, 0, payload, f"cannot look up {ip_text(dst)}"))
        )
    except NetlinkError as error:
        # No route, or one of type unreachable, prohibit or blackhole (rtnetlink(7), fib_props in the kernel).
        if error.errno in (ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL):
            return None
        raise
    # Those of IPv6 are answered with, and have a type of their own.
    return route if route.type == RTN_UNICAST else None


def route_add(
    index: int,
    dst: bytes | None = None,
    dst_prefix: int = 0,
    gateway: bytes | None = None,
    *,
    family: int | None = None,
    priority: int | None = None,
    table: int | None = None,
    scope: int | None = None,
    mtu: int | None = None,
    advmss: int | None = None,
    source: bytes | None = None,
    protocol: int = RTPROT_BOOT,
    onlink: bool = False,
    replace: bool = False,
    exclusive: bool = True,
) -> NetlinkRequest:
    """Request a new route.

    Args:
        index: The interface it leads through.
        dst: The destination's network address, whose host bits are zero; None for the default route.
        dst_prefix: Length of the destination's prefix in bits.
        gateway: The router; None if the destination is on the link.
        family: Needed only if neither dst nor gateway is given.
        priority: The lower, the better; None for the kernel's choice (0 for IPv4, 1024 for IPv6).
        table: Number of the routing table; None for the main one.
        scope: RT_SCOPE_*; None for the usual one: link without a gateway, else universe.
        mtu: Path MTU in bytes.
        advmss: Maximum segment size to advertise to TCP peers.
        source: Source address for packets that have none yet.
        protocol: RTPROT_*: who makes it.
        onlink: Trust that the gateway is on the link, though no address of the link says so.
        replace: Replace a route to the same destination with the same priority.
        exclusive: Refuse it if there is one with the same priority. Otherwise it is added before that one in
            IPv4, and as one more next hop in IPv6; EEXIST then means that the very same route exists.
    """
    if scope is None:
        scope = RT_SCOPE_UNIVERSE if gateway is not None else RT_SCOPE_LINK
    header, attrs, text = _route(dst, dst_prefix, gateway, family, priority, table, index)
    payload = RTMSG.pack(*header, protocol, scope, RTN_UNICAST, RTNH_F_ONLINK if onlink else 0) + attrs
    if source is not None:
        payload += attr(RTA_PREFSRC, source)
    metrics = b""
    if mtu is not None:
        metrics += attr_u32(RTAX_MTU, mtu)
    if advmss is not None:
        metrics += attr_u32(RTAX_ADVMSS, advmss)
    if metrics:
        payload += attr_nested(RTA_METRICS, metrics)
    return NetlinkRequest(
        RTM_NEWROUTE,
        NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL if exclusive else 0),
        payload,
        f"cannot add route {text}",
    )


def route_del(
    index: int | None,
    dst: bytes | None = None,
    dst_prefix: int = 0,
    gateway: bytes | None = None,
    *,
    family: int | None = None,
    priority: int | None = None,
    table: int | None = None,
    protocol: int = RTPROT_UNSPEC,
) -> NetlinkRequest:
    """Request that a route be deleted: the first one with all given attributes; see `route_add`.

    Args:
        index: The interface; None for any.
        dst: The destination, as of `route_add`.
        dst_prefix: Likewise.
        gateway: The router; None for any.
        family: As of `route_add`.
        priority: The metric; None for any.
        table: Number of the routing table; None for the main one.
        protocol: RTPROT_*: whose; RTPROT_UNSPEC for anybody's.
    """
    header, attrs, text = _route(dst, dst_prefix, gateway, family, priority, table, index)
    # Type 0 and this scope mean any.
    payload = RTMSG.pack(*header, protocol, RT_SCOPE_NOWHERE, 0, 0) + attrs
    return NetlinkRequest(RTM_DELROUTE, 0, payload, f"cannot delete route {text}")


def route_add_like(route: Route, *, priority: int | None = None) -> NetlinkRequest:
    """Request a route that differs from a present one in its metric; see `route_add`.

    Args:
        route: The one to copy.
        priority: The metric; None for the same.
    """
    return route_add(
        route.index,
        route.dst,
        route.dst_prefix,
        route.gateway,
        family=route.family,
        priority=route.priority if priority is None else priority,
        table=route.table,
        scope=route.scope,
        mtu=route.mtu or None,
        advmss=route.advmss or None,
        source=route.source,
        protocol=route.protocol,
        onlink=bool(route.flags & RTNH_F_ONLINK),
    )


def route_del_like(route: Route) -> NetlinkRequest:
    """Request that a route be deleted; see `route_del`.

    The kernel takes a metric of 0 for any, and deletes the route with the lowest one.
    """
    return route_del(
        route.index,
        route.dst,
        route.dst_prefix,
        route.gateway,
        family=route.family,
        priority=route.priority,
        table=route.table,
    )


def _route(
    dst: bytes | None,
    dst_prefix: int,
    gateway: bytes | None,
    family: int | None,
    priority: int | None,
    table: int | None,
    index: int | None,
) -> tuple[tuple[int, int, int, int, int], bytes, str]:
    """Return the header's first five fields, the attributes that identify a route, and words for it."""
    address = dst if dst is not None else gateway
    if address is not None:
        family = calc_family(address)
    elif family is None:
        raise ValueError("a route without destination and gateway needs a family")
    attrs = b""
    text = f"to default ({'IPv4' if family == AF_INET else 'IPv6'})"
    if dst is not None:
        attrs += attr(RTA_DST, dst)
        text = f"to {ip_text(dst)}/{dst_prefix}"
    if gateway is not None:
        attrs += attr(RTA_GATEWAY, gateway)
        text += f" via {ip_text(gateway)}"
    if index is not None:
        attrs += attr_u32(RTA_OIF, index)
    if priority is not None:
        attrs += attr_u32(RTA_PRIORITY, priority)
    if table is None:
        table = RT_TABLE_MAIN
    elif table > 255:
        # The header's field has 8 bits.
        attrs += attr_u32(RTA_TABLE, table)
        table = RT_TABLE_UNSPEC
    return (family, dst_prefix, 0, 0, table), attrs, text
