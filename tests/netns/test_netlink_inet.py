"""Addresses, routes and neighbours of real namespaces, seen by ip(8) and pyroute2."""

import json
from collections.abc import Iterator
from errno import EEXIST, ENODEV
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from pyroute2 import IPRoute

from shibafu.netlink.address import addr_add, addr_del, addr_list
from shibafu.netlink.constants import AF_INET, AF_INET6, AF_UNSPEC, IFA_F_NODAD, RT_SCOPE_LINK
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import link_by_name
from shibafu.netlink.link_requests import link_add_veth, link_set
from shibafu.netlink.route import Route, route_add, route_del, route_list
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket
from support.namespaces import Namespace
from support.pyroute2_view import attr, packed_ip

IFA_F_TENTATIVE = 0x40


@pytest.fixture
def sock(container: Namespace) -> Iterator[NetlinkSocket]:
    """Open a socket in a namespace with the pair veth1 and veth2, both up."""
    with container.enter():
        opened = NetlinkSocket()
    with opened:
        opened.request_all([link_add_veth("veth1", "veth2"), link_set("veth2", up=True)])
        yield opened


@pytest.fixture
def index(sock: NetlinkSocket) -> int:
    return index_of(sock, "veth1")


def index_of(sock: NetlinkSocket, name: str) -> int:
    link = link_by_name(sock, name)
    assert link is not None
    return link.index


def ip(text: str) -> bytes:
    return ip_address(text).packed


def shown(namespace: Namespace, *what: str) -> Any:
    """Return what ip(8) shows."""
    return json.loads(namespace.run("ip", "-j", *what))


def network_requests(index: int) -> list[NetlinkRequest]:
    return [
        addr_add(index, ip("10.22.0.5"), 24),
        addr_add(index, ip("fd00::5"), 64),
        route_add(index, gateway=ip("10.22.0.1")),
        route_add(index, gateway=ip("fd00::1")),
    ]


def test_addresses(container: Namespace, sock: NetlinkSocket, index: int) -> None:
    requests = [addr_add(index, ip("10.22.0.5"), 24), addr_add(index, ip("fd00::5"), 64)]
    assert sock.request_all(requests) == [0, 0]
    [v4] = addr_list(sock, index, AF_INET)
    assert (v4.index, v4.family, v4.ip, v4.prefix) == (index, AF_INET, ip("10.22.0.5"), 24)
    [v6, link_local] = addr_list(sock, index, AF_INET6)
    assert (v6.family, v6.ip, v6.prefix) == (AF_INET6, ip("fd00::5"), 64)
    assert (v6.flags & IFA_F_NODAD, v6.flags & IFA_F_TENTATIVE) == (IFA_F_NODAD, 0)
    assert (link_local.ip[:2], link_local.scope) == (b"\xfe\x80", RT_SCOPE_LINK)
    assert len(addr_list(sock, index)) == 3
    seen = shown(container, "address", "show", "dev", "veth1")[0]["addr_info"]
    assert [(a["local"], a["prefixlen"], a.get("broadcast")) for a in seen[:2]] == [
        ("10.22.0.5", 24, "10.22.0.255"),
        ("fd00::5", 64, None),
    ]
    sock.request_all([addr_del(index, ip("10.22.0.5"), 24), addr_del(index, ip("fd00::5"), 64)])
    assert [addr.ip for addr in addr_list(sock, index)] == [link_local.ip]


def test_address_with_duplicate_detection(sock: NetlinkSocket, index: int) -> None:
    sock.request(addr_add(index, ip("fd00::5"), 64, nodad=False))
    [v6] = [addr for addr in addr_list(sock, index, AF_INET6) if addr.ip == ip("fd00::5")]
    assert (v6.flags & IFA_F_NODAD, v6.flags & IFA_F_TENTATIVE) == (0, IFA_F_TENTATIVE)


def test_addresses_of_all_interfaces(sock: NetlinkSocket, index: int) -> None:
    sock.request(addr_add(index, ip("10.22.0.5"), 24))
    found = {(addr.index, addr.ip) for addr in addr_list(sock, family=AF_INET)}
    assert found == {(1, ip("127.0.0.1")), (index, ip("10.22.0.5"))}


def test_address_errors(sock: NetlinkSocket, index: int) -> None:
    sock.request(addr_add(index, ip("10.22.0.5"), 24))
    with pytest.raises(NetlinkError, match=r"^cannot add address 10\.22\.0\.5/24: file exists") as caught:
        sock.request(addr_add(index, ip("10.22.0.5"), 24))
    assert caught.value.errno == EEXIST
    with pytest.raises(NetlinkError, match=r"^cannot delete address 10\.22\.0\.6/24: cannot assign"):
        sock.request(addr_del(index, ip("10.22.0.6"), 24))
    with pytest.raises(NetlinkError, match=r"^cannot list addresses: no such device") as caught:
        addr_list(sock, 4711)
    assert caught.value.errno == ENODEV


def test_hundreds_of_addresses(container: Namespace, sock: NetlinkSocket, index: int) -> None:
    wanted = [(ip_network("10.0.0.0/16")[i].packed, 32) for i in range(1, 400)]
    wanted += [(ip_network("fd00::/64")[i].packed, 128) for i in range(1, 400)]
    sock.request_all([addr_add(index, address, prefix) for address, prefix in wanted])
    found = [addr for addr in addr_list(sock, index) if addr.scope != RT_SCOPE_LINK]
    assert sorted((addr.ip, addr.prefix) for addr in found) == sorted(wanted)
    with IPRoute(netns=container.name) as ipr:
        theirs = {
            (m["index"], m["prefixlen"], packed_ip(attr(m, "IFA_LOCAL") or attr(m, "IFA_ADDRESS")))
            for m in ipr.get_addr()
        }
    assert {(addr.index, addr.prefix, addr.ip) for addr in addr_list(sock)} == theirs


def by_destination(routes: list[Route]) -> dict[tuple[bytes | None, int], Route]:
    return {(route.dst, route.dst_prefix): route for route in routes}


def test_routes(container: Namespace, sock: NetlinkSocket, index: int) -> None:
    sock.request_all(
        [
            *network_requests(index),
            route_add(index, ip("10.23.0.0"), 16, ip("10.22.0.1"), priority=7, mtu=1300, advmss=1200),
            route_add(index, ip("10.24.0.0"), 16),
            route_add(index, ip("10.25.0.0"), 16, ip("192.0.2.1"), onlink=True),
            route_add(index, ip("10.26.0.0"), 16, source=ip("10.22.0.5")),
        ]
    )
    routes = by_destination(route_list(sock, index, AF_INET))
    default = routes[None, 0]
    assert (default.gateway, default.index, default.table) == (ip("10.22.0.1"), index, 254)
    full = routes[ip("10.23.0.0"), 16]
    assert (full.gateway, full.priority, full.mtu, full.advmss) == (ip("10.22.0.1"), 7, 1300, 1200)
    assert routes[ip("10.24.0.0"), 16].gateway is None
    assert routes[ip("10.24.0.0"), 16].scope == RT_SCOPE_LINK
    assert routes[ip("10.25.0.0"), 16].gateway == ip("192.0.2.1")
    assert routes[ip("10.26.0.0"), 16].source == ip("10.22.0.5")
    v6 = by_destination(route_list(sock, index, AF_INET6))
    assert v6[None, 0].gateway == ip("fd00::1")
    assert {route.family for route in route_list(sock, index)} == {AF_INET, AF_INET6}
    seen = {route["dst"]: route for route in shown(container, "route", "show")}
    assert seen["default"]["gateway"] == "10.22.0.1"
    assert seen["10.23.0.0/16"]["metrics"] == [{"mtu": 1300, "advmss": 1200}]
    assert "onlink" in seen["10.25.0.0/16"]["flags"]
    assert route_list(sock, 1) == []


@pytest.mark.parametrize("table", [100, 254, 255, 256, 2**32 - 1])
@pytest.mark.parametrize(("dst", "prefix"), [("10.23.0.0", 16), ("fd01::", 64)])
def test_tables(sock: NetlinkSocket, index: int, table: int, dst: str, prefix: int) -> None:
    sock.request(route_add(index, ip(dst), prefix, table=table))
    [route] = [route for route in route_list(sock, index, table=table) if route.dst == ip(dst)]
    assert (route.table, route.dst_prefix) == (table, prefix)
    assert table in {route.table for route in route_list(sock, index, table=None)}
    sock.request(route_del(index, ip(dst), prefix, table=table))
    assert ip(dst) not in {route.dst for route in route_list(sock, index, table=None)}


def test_table_that_does_not_exist_is_empty(sock: NetlinkSocket, index: int) -> None:
    assert route_list(sock, index, AF_INET, table=4711) == []
    assert route_list(sock, index, AF_UNSPEC, table=4711) == []


def test_replace_and_delete(sock: NetlinkSocket, index: int) -> None:
    sock.request_all(network_requests(index))
    assert sock.request(route_add(index, gateway=ip("10.22.0.1")).ignoring(EEXIST)) == EEXIST
    sock.request(route_add(index, gateway=ip("10.22.0.2"), replace=True))
    [default] = [route for route in route_list(sock, index, AF_INET) if route.dst is None]
    assert default.gateway == ip("10.22.0.2")
    sock.request_all([route_del(index, family=AF_INET), route_del(None, gateway=ip("fd00::1"))])
    assert [route for route in route_list(sock) if route.dst is None] == []


def test_default_route_as_an_all_zero_network(sock: NetlinkSocket, index: int) -> None:
    sock.request(addr_add(index, ip("10.22.0.5"), 24))
    sock.request(route_add(index, bytes(4), 0, ip("10.22.0.1")))
    assert None in {route.dst for route in route_list(sock, index, AF_INET)}


def test_route_errors(sock: NetlinkSocket, index: int) -> None:
    sock.request_all(network_requests(index))
    message = r"^cannot add route to 10\.23\.0\.0/16 via 192\.0\.2\.1: network is unreachable \(Nexthop"
    with pytest.raises(NetlinkError, match=message):
        sock.request(route_add(index, ip("10.23.0.0"), 16, ip("192.0.2.1")))
    with pytest.raises(NetlinkError, match=r"^cannot add route to default \(IPv6\) via fd00::1: file exists"):
        sock.request(route_add(index, gateway=ip("fd00::1")))
    with pytest.raises(NetlinkError, match=r"^cannot delete route to 10\.99\.0\.0/16: no such process"):
        sock.request(route_del(index, ip("10.99.0.0"), 16))
    with pytest.raises(NetlinkError, match=r"^cannot list routes: no such device"):
        route_list(sock, 4711)


def test_hundreds_of_routes(container: Namespace, sock: NetlinkSocket, index: int) -> None:
    wanted = [(ip(f"10.128.{i}.0"), 24) for i in range(200)]
    wanted += [(ip(f"fd01:0:0:{i:x}::"), 64) for i in range(400)]
    sock.request_all([route_add(index, dst, prefix) for dst, prefix in wanted])
    found = {(route.dst, route.dst_prefix) for route in route_list(sock, index)}
    assert set(wanted) <= found
    with IPRoute(netns=container.name) as ipr:
        theirs = {
            (packed_ip(attr(m, "RTA_DST")), m["dst_len"], attr(m, "RTA_OIF"), attr(m, "RTA_TABLE"))
            for m in ipr.get_routes()
        }
    ours = {(r.dst, r.dst_prefix, r.index, r.table) for r in route_list(sock, table=None)}
    assert ours == theirs
