"""Looking into the namespace at the other end of a veth pair."""

from collections.abc import Iterator
from contextlib import contextmanager

from shibafu.netlink.inet import ip_text
from shibafu.netlink.link import Link, link_by_name
from shibafu.netlink.peer_netns import addr_list_inside, peer_inside
from shibafu.netlink.socket import NetlinkSocket
from support.namespaces import Namespace


def make_pair(host: Namespace, container: Namespace) -> None:
    host.run(*f"ip link add port type veth peer name inner netns {container.name}".split())
    container.run("ip", "addr", "add", "10.1.0.2/24", "dev", "inner")
    container.run("ip", "addr", "add", "fd00::2/64", "dev", "inner", "nodad")
    # Of another link there, and of the link of the same number here.
    container.run("ip", "addr", "add", "10.9.0.1/24", "dev", "lo")


@contextmanager
def open_port(host: Namespace, container: Namespace) -> Iterator[tuple[NetlinkSocket, Link]]:
    """Make a pair, and look at its end on the host."""
    make_pair(host, container)
    with host.enter():
        sock = NetlinkSocket()
    with sock:
        port = link_by_name(sock, "port")
        assert port is not None
        yield sock, port


def test_name_and_addresses(host: Namespace, container: Namespace) -> None:
    with open_port(host, container) as (sock, port):
        assert port.link_netnsid >= 0
        peer = peer_inside(sock, port)
        assert peer is not None
        assert (peer.name, peer.index) == ("inner", port.peer)
        assert sorted(ip_text(address.ip) for address in addr_list_inside(sock, port)) == [
            "10.1.0.2",
            "fd00::2",
        ]


def test_what_is_gone(host: Namespace, container: Namespace) -> None:
    with open_port(host, container) as (sock, port):
        container.run("ip", "link", "del", "inner")
        assert peer_inside(sock, port) is None
        assert addr_list_inside(sock, port) == []
        # The number of a namespace that there is not.
        port.link_netnsid = 4711
        assert peer_inside(sock, port) is None
        assert addr_list_inside(sock, port) == []
