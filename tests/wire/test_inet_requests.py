"""Requests about addresses, routes and neighbours, as pyroute2 reads them."""

from ipaddress import IPv4Network, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from shibafu.netlink import constants as c
from shibafu.netlink.address import addr_add, addr_del, parse_addr
from shibafu.netlink.codec import parse_attrs
from shibafu.netlink.inet import calc_broadcast, calc_family
from shibafu.netlink.replay import route_discard, route_restore
from shibafu.netlink.route import (
    RTMSG,
    parse_kernel_route,
    route_add,
    route_add_like,
    route_del,
    route_del_like,
)
from support.pyroute2_view import decode
from wire.strategies import addresses, indexes, ips, networks

CREATE = c.NLM_F_CREATE | c.NLM_F_EXCL
Attrs = list[tuple[str, Any]]
numbers = st.integers(0, 2**32 - 1)


def text(ip: bytes) -> str:
    return str(ip_address(ip))


@given(indexes, addresses(), st.booleans(), st.integers(0, 255), st.sampled_from([0, 0x200, 0x80]))
def test_add_address(index: int, address: tuple[bytes, int], nodad: bool, scope: int, flags: int) -> None:
    ip, prefix = address
    request = addr_add(index, ip, prefix, nodad=nodad, scope=scope, flags=flags)
    fields, attrs = decode(request)
    expected: Attrs = [("IFA_LOCAL", text(ip)), ("IFA_ADDRESS", text(ip))]
    if len(ip) == 4 and prefix <= 30:
        broadcast = IPv4Network((ip, prefix), strict=False).broadcast_address
        expected.append(("IFA_BROADCAST", str(broadcast)))
    wanted = flags | (c.IFA_F_NODAD if nodad and len(ip) == 16 else 0)
    if wanted:
        expected.append(("IFA_FLAGS", wanted))
    assert (request.type, request.flags) == (c.RTM_NEWADDR, CREATE)
    assert fields == {
        "family": calc_family(ip),
        "prefixlen": prefix,
        "flags": 0,
        "scope": scope,
        "index": index,
    }
    assert attrs == expected
    assert request.what == f"cannot add address {text(ip)}/{prefix}"


@given(indexes, addresses())
def test_del_address(index: int, address: tuple[bytes, int]) -> None:
    ip, prefix = address
    request = addr_del(index, ip, prefix)
    fields, attrs = decode(request)
    assert (request.type, request.flags) == (c.RTM_DELADDR, 0)
    assert (fields["index"], fields["prefixlen"], fields["family"]) == (index, prefix, calc_family(ip))
    assert attrs == [("IFA_LOCAL", text(ip)), ("IFA_ADDRESS", text(ip))]


@given(indexes, addresses(), numbers)
def test_parse_the_address_that_pyroute2_encodes(index: int, address: tuple[bytes, int], flags: int) -> None:
    ip, prefix = address
    message = ifaddrmsg()
    message.update({"family": calc_family(ip), "prefixlen": prefix, "index": index, "scope": 253})
    message["attrs"] = [("IFA_ADDRESS", text(ip)), ("IFA_FLAGS", flags)]
    message.encode()
    addr = parse_addr(bytes(message.data)[16:])
    assert (addr.index, addr.family, addr.prefix) == (index, calc_family(ip), prefix)
    assert (addr.ip, addr.flags, addr.scope) == (ip, flags, 253)


def test_the_local_end_of_a_point_to_point_link_counts() -> None:
    message = ifaddrmsg()
    message.update({"family": c.AF_INET, "prefixlen": 32, "flags": 0x80})
    message["attrs"] = [("IFA_ADDRESS", "10.0.0.2"), ("IFA_LOCAL", "10.0.0.1")]
    message.encode()
    addr = parse_addr(bytes(message.data)[16:])
    assert (addr.ip, addr.flags) == (bytes([10, 0, 0, 1]), 0x80)


@given(
    indexes,
    networks(),
    st.booleans(),
    st.none() | numbers,
    st.none() | numbers,
    st.none() | st.integers(0, 255),
    st.none() | numbers,
    st.none() | numbers,
    st.booleans(),
    st.booleans(),
)
def test_add_route(
    index: int,
    network: tuple[bytes, int],
    with_gateway: bool,
    priority: int | None,
    table: int | None,
    scope: int | None,
    mtu: int | None,
    advmss: int | None,
    onlink: bool,
    replace: bool,
) -> None:
    dst, prefix = network
    gateway = dst if with_gateway else None
    request = route_add(
        index,
        dst,
        prefix,
        gateway,
        priority=priority,
        table=table,
        scope=scope,
        mtu=mtu,
        advmss=advmss,
        onlink=onlink,
        replace=replace,
        source=dst,
    )
    if scope is None:
        scope = c.RT_SCOPE_UNIVERSE if with_gateway else c.RT_SCOPE_LINK
    if table is None:
        table = c.RT_TABLE_MAIN
    expected: Attrs = [("RTA_DST", text(dst))]
    expected += [("RTA_GATEWAY", text(dst))] if with_gateway else []
    expected += [("RTA_OIF", index)]
    expected += [("RTA_PRIORITY", priority)] if priority is not None else []
    expected += [("RTA_TABLE", table)] if table > 255 else []
    expected += [("RTA_PREFSRC", text(dst))]
    metrics = [("RTAX_MTU", mtu), ("RTAX_ADVMSS", advmss)]
    metrics = [(name, value) for name, value in metrics if value is not None]
    expected += [("RTA_METRICS", metrics)] if metrics else []
    assert request.type == c.RTM_NEWROUTE
    assert request.flags == c.NLM_F_CREATE | (c.NLM_F_REPLACE if replace else c.NLM_F_EXCL)
    assert decode(request) == (
        {
            "family": calc_family(dst),
            "dst_len": prefix,
            "src_len": 0,
            "tos": 0,
            "table": table if table < 256 else 0,
            "proto": c.RTPROT_BOOT,
            "scope": scope,
            "type": c.RTN_UNICAST,
            "flags": c.RTNH_F_ONLINK if onlink else 0,
        },
        expected,
    )


@given(indexes, ips)
def test_default_route_takes_its_family_from_the_gateway(index: int, gateway: bytes) -> None:
    request = route_add(index, gateway=gateway)
    fields, attrs = decode(request)
    assert (fields["family"], fields["dst_len"]) == (calc_family(gateway), 0)
    assert attrs == [("RTA_GATEWAY", text(gateway)), ("RTA_OIF", index)]
    family = "IPv4" if len(gateway) == 4 else "IPv6"
    assert request.what == f"cannot add route to default ({family}) via {text(gateway)}"


@pytest.mark.parametrize("family", [c.AF_INET, c.AF_INET6])
def test_default_route_over_a_link(family: int) -> None:
    fields, attrs = decode(route_add(3, family=family))
    assert (fields["family"], fields["scope"]) == (family, c.RT_SCOPE_LINK)
    assert attrs == [("RTA_OIF", 3)]
    with pytest.raises(ValueError, match="needs a family"):
        route_add(3)


@given(st.none() | indexes, networks(), st.none() | ips, st.none() | numbers, numbers, st.integers(0, 255))
def test_del_route(
    index: int | None,
    network: tuple[bytes, int],
    gateway: bytes | None,
    priority: int | None,
    table: int,
    protocol: int,
) -> None:
    dst, prefix = network
    request = route_del(index, dst, prefix, gateway, priority=priority, table=table, protocol=protocol)
    fields, attrs = decode(request)
    assert (request.type, request.flags) == (c.RTM_DELROUTE, 0)
    assert (fields["dst_len"], fields["type"], fields["proto"]) == (prefix, 0, protocol)
    assert fields["scope"] == c.RT_SCOPE_NOWHERE
    got = dict(attrs)
    assert got.pop("RTA_DST") == text(dst)
    assert got.pop("RTA_OIF", None) == index
    assert got.pop("RTA_PRIORITY", None) == priority
    assert got.pop("RTA_TABLE", fields["table"]) == table
    if gateway is None or len(gateway) == len(dst):
        assert got == ({} if gateway is None else {"RTA_GATEWAY": text(gateway)})


@given(indexes, indexes, networks(), numbers, numbers, st.booleans())
def test_routes_like_another(
    index: int, other: int, network: tuple[bytes, int], table: int, metric: int, onlink: bool
) -> None:
    """The copy of what the kernel says is the request that made it."""
    dst, prefix = network

    def make(through: int) -> bytes:
        return route_add(
            *(through, dst, prefix, dst),
            priority=metric,
            table=table,
            scope=7,
            mtu=1400,
            advmss=1360,
            source=dst,
            protocol=16,
            onlink=onlink,
        ).payload

    delete = route_del(index, dst, prefix, dst, priority=metric, table=table).payload
    route = parse_kernel_route(make(index))
    assert route_add_like(route).payload == make(index)
    assert parse_kernel_route(route_add_like(route, priority=5).payload).priority == 5
    assert route_del_like(route).payload == delete
    # On another link, only the order of attributes differs.
    assert split(route_restore(other, make(index)).payload) == split(make(other))
    assert split(route_discard(other, make(index)).payload) == split(make(other))


def split(payload: bytes) -> tuple[bytes, dict[int, bytes]]:
    """Return a route's header and its attributes."""
    return payload[: RTMSG.size], parse_attrs(payload, RTMSG.size)


@given(indexes, networks(), numbers, numbers)
def test_parse_the_route_that_pyroute2_encodes(
    index: int, network: tuple[bytes, int], table: int, number: int
) -> None:
    dst, prefix = network
    message = rtmsg()
    message.update({"family": calc_family(dst), "dst_len": prefix, "proto": 2, "scope": 253, "type": 1})
    message.update({"table": 252, "flags": 4})
    message["attrs"] = [
        ("RTA_TABLE", table),
        ("RTA_DST", text(dst)),
        ("RTA_GATEWAY", text(dst)),
        ("RTA_PREFSRC", text(dst)),
        ("RTA_OIF", index),
        ("RTA_PRIORITY", number),
        ("RTA_METRICS", {"attrs": [("RTAX_MTU", number), ("RTAX_ADVMSS", 1200)]}),
    ]
    message.encode()
    route = parse_kernel_route(bytes(message.data)[16:])
    assert (route.index, route.family, route.dst, route.dst_prefix) == (index, calc_family(dst), dst, prefix)
    assert (route.gateway, route.source, route.table, route.priority) == (dst, dst, table, number)
    assert (route.mtu, route.advmss, route.protocol, route.scope) == (number, 1200, 2, 253)
    assert (route.type, route.flags) == (1, 4)


@given(st.binary(max_size=20).filter(lambda ip: len(ip) not in (4, 16)))
def test_other_lengths_are_no_addresses(ip: bytes) -> None:
    with pytest.raises(ValueError, match="4 or 16 bytes"):
        calc_family(ip)


def test_broadcast_of_small_subnets() -> None:
    ip = bytes([10, 0, 0, 1])
    assert calc_broadcast(ip, 0) == b"\xff" * 4
    assert calc_broadcast(ip, 30) == bytes([10, 0, 0, 3])
    assert calc_broadcast(ip, 31) is None
    assert calc_broadcast(bytes(16), 64) is None
