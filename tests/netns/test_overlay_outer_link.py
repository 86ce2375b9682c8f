"""The link to the other hosts: how it is found, and what is said where it is not."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest

from shibafu.netlink.socket import NetlinkSocket
from shibafu.overlay.config import EtcdAccess, OverlaySettings
from shibafu.overlay.errors import OverlayError
from shibafu.overlay.outer_link import find_outer_link, note_absent_addresses
from support.namespaces import Namespace

_ETCD = EtcdAccess(("http://192.0.2.1:2379",))


@pytest.fixture
def sock(host: Namespace) -> Iterator[NetlinkSocket]:
    with host.enter(), NetlinkSocket() as opened:
        yield opened


def test_links_that_there_are_are_named(host: Namespace, sock: NetlinkSocket) -> None:
    wrong = OverlaySettings("blue", _ETCD, iface="eth9")
    with pytest.raises(OverlayError) as caught:
        find_outer_link(sock, wrong, has_ipv6=False)
    assert caught.value.message == "link eth9, which iface names for network blue, does not exist"
    assert caught.value.hint == "no link has an IPv4 address"
    for name, address in (("lan", "192.0.2.2/24"), ("wan", "198.51.100.2/24"), ("bare", "")):
        host.run("ip", "link", "add", name, "up", "type", "bridge")
        if address:
            host.run("ip", "address", "add", address, "dev", name)
    host.run("ip", "link", "add", "flannel.1", "up", "type", "vxlan", "id", "1", "dstport", "8472")
    host.run("ip", "address", "add", "10.42.7.0/32", "dev", "flannel.1")
    with pytest.raises(OverlayError) as caught:
        find_outer_link(sock, wrong, has_ipv6=False)
    assert caught.value.hint == "links with an IPv4 address: lan, wan"
    with pytest.raises(OverlayError) as caught:
        find_outer_link(sock, OverlaySettings("blue", _ETCD), has_ipv6=False)
    assert "no default route" in caught.value.message
    assert caught.value.hint.endswith("iface of network blue; links with an IPv4 address: lan, wan")


def test_addresses_that_no_link_has_are_noted(host: Namespace, sock: NetlinkSocket) -> None:
    host.run("ip", "link", "add", "wan", "up", "type", "bridge")
    host.run("ip", "address", "add", "192.0.2.2/24", "dev", "wan")
    host.run("ip", "address", "add", "2001:db8::2/64", "dev", "wan", "nodad")

    def note(ip: str, ip6: str, has_ipv6: bool = True) -> str:
        stated = OverlaySettings("blue", _ETCD, "/blue", "wan", IPv4Address(ip), IPv6Address(ip6))
        return note_absent_addresses(sock, stated, has_ipv6)

    assert note("192.0.2.2", "2001:db8::2") == ""
    assert note("192.0.2.2", "2001:db8::9", has_ipv6=False) == ""
    tail = "on no link of this host, which is right behind 1:1 NAT only"
    assert note("203.0.113.9", "2001:db8::2") == f"publicIP 203.0.113.9 is {tail}"
    both = "publicIP 203.0.113.9 and publicIPv6 2001:db8::9"
    assert note("203.0.113.9", "2001:db8::9") == f"{both} are {tail}"
