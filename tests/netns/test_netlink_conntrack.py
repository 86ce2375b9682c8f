"""Connections that the kernel tracks, as shibafu.netlink tells of them and has them forgotten."""

import socket
from collections.abc import Iterator

import pytest

from shibafu.netlink.conntrack import NETLINK_NETFILTER, flow_del, flow_list, has_flows
from shibafu.netlink.socket import NetlinkSocket
from support.namespaces import Namespace

ADDRESSES = {socket.AF_INET: ("127.0.0.1", "127.0.0.2"), socket.AF_INET6: ("::1", "fd00::1")}
families = pytest.mark.parametrize("family", ADDRESSES)


@pytest.fixture
def tracking(host: Namespace) -> Iterator[NetlinkSocket]:
    """A socket of a host that tracks connections."""
    host.run("ip", "link", "set", "lo", "up")
    host.run("ip", "-6", "addr", "add", "fd00::1/128", "dev", "lo", "nodad")
    host.run("nft", "add table inet t; add chain inet t c { type filter hook output priority 0; }")
    host.run("nft", "add rule inet t c ct state new accept")
    with host.enter(), NetlinkSocket(protocol=NETLINK_NETFILTER) as sock:
        assert not has_flows()
        for family, addresses in ADDRESSES.items():
            for address in addresses:
                for port in (53, 54):
                    with socket.socket(family, socket.SOCK_DGRAM) as client:
                        client.sendto(b"ask", (address, port))
        yield sock


def pack(family: socket.AddressFamily, address: str) -> bytes:
    return socket.inet_pton(family, address)


@families
def test_all_of_a_protocol_and_a_family(tracking: NetlinkSocket, family: socket.AddressFamily) -> None:
    assert has_flows()
    found = {(flow.destination, flow.port) for flow in flow_list(tracking, family, socket.IPPROTO_UDP)}
    assert found == {(pack(family, address), port) for address in ADDRESSES[family] for port in (53, 54)}
    assert flow_list(tracking, family, socket.IPPROTO_TCP) == []


@families
def test_some(tracking: NetlinkSocket, family: socket.AddressFamily) -> None:
    """By the port that was asked, by the address that answers, and by both."""
    first, second = (pack(family, address) for address in ADDRESSES[family])
    for port, answerer, expected in (
        (53, b"", {(first, 53), (second, 53)}),
        (0, second, {(second, 53), (second, 54)}),
        (54, second, {(second, 54)}),
        (55, b"", set()),
    ):
        flows = flow_list(tracking, family, socket.IPPROTO_UDP, port=port, answerer=answerer)
        assert {(flow.answerer, flow.port) for flow in flows} == expected


@families
def test_by_the_address_that_answers_go_to(
    tracking: NetlinkSocket, host: Namespace, family: socket.AddressFamily
) -> None:
    """It is the source here, and not where that was translated."""
    first, second = (pack(family, address) for address in ADDRESSES[family])
    everything = flow_list(tracking, family, socket.IPPROTO_UDP)
    assert {flow.asker for flow in everything} == {flow.source for flow in everything}
    host.run("nft", "add chain inet t p { type nat hook postrouting priority 100; }")
    name = "ip" if family == socket.AF_INET else "ip6"
    host.run("nft", f"add rule inet t p udp dport 55 snat {name} to {ADDRESSES[family][1]}")
    with host.enter(), socket.socket(family, socket.SOCK_DGRAM) as client:
        client.sendto(b"ask", (ADDRESSES[family][0], 55))
    (flow,) = flow_list(tracking, family, socket.IPPROTO_UDP, port=55, asker=second)
    assert (flow.source, flow.asker) == (first, second)
    assert flow_list(tracking, family, socket.IPPROTO_UDP, port=55, asker=first) == []


@families
def test_forgotten(tracking: NetlinkSocket, family: socket.AddressFamily) -> None:
    flow_del(tracking, flow_list(tracking, family, socket.IPPROTO_UDP, port=53))
    assert {flow.port for flow in flow_list(tracking, family, socket.IPPROTO_UDP)} == {54}
