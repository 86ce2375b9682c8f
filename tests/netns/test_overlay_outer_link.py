"""The link to the other hosts: how it is found, and what is said where it is not."""

from collections.abc import Iterator

import pytest

from shibafu.netlink.socket import NetlinkSocket
from shibafu.overlay.config import EtcdAccess, OverlaySettings
from shibafu.overlay.errors import OverlayError
from shibafu.overlay.outer_link import find_outer_link
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
