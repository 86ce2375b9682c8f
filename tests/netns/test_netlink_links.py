"""Links of real namespaces, made and read by shibafu.netlink, seen by ip(8) and pyroute2."""

import json
import os
from collections.abc import Iterator
from errno import EEXIST, ENODEV
from typing import Any

import pytest
from pyroute2 import IPRoute

from shibafu.netlink.constants import IFF_PROMISC, IPV4_DEVCONF_ARP_NOTIFY
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import Link, link_by_index, link_by_name, link_list, link_peer
from shibafu.netlink.link_requests import (
    link_add_bridge,
    link_add_veth,
    link_del,
    link_set,
    link_set_port,
)
from shibafu.netlink.namespace import open_netns
from shibafu.netlink.socket import NetlinkSocket
from support.namespaces import Namespace
from support.pyroute2_view import attr, packed_mac

MAC = bytes.fromhex("020000000001")
PEER_MAC = bytes.fromhex("020000000002")


@pytest.fixture
def sock(host: Namespace) -> Iterator[NetlinkSocket]:
    with host.enter():
        opened = NetlinkSocket()
    with opened:
        yield opened


@pytest.fixture
def inside(container: Namespace) -> Iterator[NetlinkSocket]:
    """Open a socket in the container's namespace."""
    with container.enter():
        opened = NetlinkSocket()
    with opened:
        yield opened


@pytest.fixture
def container_fd(container: Namespace) -> Iterator[int]:
    fd = open_netns(container.path)
    yield fd
    os.close(fd)


def shown(namespace: Namespace, name: str) -> Any:
    """Return what ip(8) shows of a link."""
    return json.loads(namespace.run("ip", "-d", "-j", "link", "show", name))[0]


def get(sock: NetlinkSocket, link: int | str) -> Link:
    found = link_by_name(sock, link) if isinstance(link, str) else link_by_index(sock, link)
    assert found is not None
    return found


def test_bridge(host: Namespace, sock: NetlinkSocket) -> None:
    assert sock.request(link_add_bridge("cni0", MAC, 1400)) == 0
    seen = shown(host, "cni0")
    assert seen["address"] == "02:00:00:00:00:01"
    assert seen["mtu"] == 1400
    assert seen["linkinfo"]["info_kind"] == "bridge"
    assert "UP" in seen["flags"]
    link = get(sock, "cni0")
    assert (link.index, link.name, link.kind, link.mac, link.mtu) == (
        seen["ifindex"],
        "cni0",
        "bridge",
        MAC,
        1400,
    )
    assert link.up
    assert link.vlan_filtering is False
    assert get(sock, link.index).name == "cni0"


def test_bridge_keeps_its_mac_when_ports_come(sock: NetlinkSocket) -> None:
    sock.request(link_add_bridge("cni0", MAC))
    index = get(sock, "cni0").index
    sock.request(link_add_veth("veth1", "peer1", mac=bytes.fromhex("020000000000"), master=index))
    assert get(sock, "cni0").mac == MAC


def test_veth_pair_in_one_message(
    host: Namespace, container: Namespace, sock: NetlinkSocket, inside: NetlinkSocket, container_fd: int
) -> None:
    sock.request(link_add_bridge("cni0"))
    bridge = get(sock, "cni0")
    sock.request(link_add_veth("veth1", "eth0", container_fd, MAC, PEER_MAC, 1300, bridge.index))
    veth, peer = get(sock, "veth1"), get(inside, "eth0")
    assert (veth.kind, veth.mac, veth.mtu, veth.master, veth.up) == ("veth", MAC, 1300, bridge.index, True)
    assert (peer.kind, peer.mac, peer.mtu, peer.master, peer.up) == ("veth", PEER_MAC, 1300, 0, False)
    assert (veth.peer, peer.peer) == (peer.index, veth.index)
    assert veth.link_netnsid >= 0
    assert (veth.port is not None, peer.port is None) == (True, True)
    seen = shown(host, "veth1")
    assert (seen["master"], seen["mtu"], seen["address"]) == ("cni0", 1300, "02:00:00:00:00:01")
    assert shown(container, "eth0")["address"] == "02:00:00:00:00:02"


def test_veth_pair_within_a_namespace(sock: NetlinkSocket) -> None:
    sock.request(link_add_veth("veth1", "veth2", up=False))
    veth = get(sock, "veth1")
    assert (veth.up, veth.link_netnsid, get(sock, veth.peer).name) == (False, -1, "veth2")


def test_port_in_the_batch_that_makes_it(host: Namespace, sock: NetlinkSocket) -> None:
    sock.request(link_add_bridge("cni0"))
    pair = link_add_veth("veth1", "veth2", master=get(sock, "cni0").index)
    sock.request_all([pair, link_set_port("veth1", hairpin=True, isolated=True, group_fwd_mask=0xFFFD)])
    port = get(sock, "veth1").port
    assert port is not None
    assert (port.hairpin, port.isolated, port.group_fwd_mask) == (True, True, 0xFFFD)
    data = shown(host, "veth1")["linkinfo"]["info_slave_data"]
    assert (data["hairpin"], data["isolated"]) == (True, True)
    sock.request(link_set_port(get(sock, "veth1").index, hairpin=False))
    port = get(sock, "veth1").port
    assert port is not None
    assert (port.hairpin, port.isolated, port.group_fwd_mask) == (False, True, 0xFFFD)


def test_set_everything(
    host: Namespace, sock: NetlinkSocket, inside: NetlinkSocket, container_fd: int
) -> None:
    sock.request_all([link_add_bridge("cni0"), link_add_veth("veth1", "veth2", up=False)])
    bridge, veth = get(sock, "cni0"), get(sock, "veth1")
    sock.request_all(
        [
            link_set("veth1", mtu=1400, mac=MAC, alias="Ä container's", promisc=True),
            link_set(veth.index, new_name="veth9"),
            link_set("veth9", master=bridge.index, up=True),
        ]
    )
    link = get(sock, "veth9")
    assert (link.mtu, link.mac, link.alias, link.master, link.up) == (
        1400,
        MAC,
        "Ä container's",
        bridge.index,
        True,
    )
    assert link.flags & IFF_PROMISC
    assert "PROMISC" in shown(host, "veth9")["flags"]
    sock.request(link_set("veth9", master=0, up=False, promisc=False))
    link = get(sock, "veth9")
    assert (link.master, link.up, link.flags & IFF_PROMISC, link.port) == (0, False, 0, None)
    sock.request(link_set("veth9", netns_fd=container_fd))
    assert link_by_name(sock, "veth9") is None
    assert get(inside, "veth9").mac == MAC


def test_arp_notify(host: Namespace, sock: NetlinkSocket) -> None:
    sock.request(link_add_veth("veth1", "veth2"))
    for wanted in (True, False):
        sock.request(link_set("veth1", up=True, inet_conf={IPV4_DEVCONF_ARP_NOTIFY: wanted}))
        assert host.run("cat", "/proc/sys/net/ipv4/conf/veth1/arp_notify").strip() == str(int(wanted))
        link = link_by_name(sock, "veth1")
        assert link is not None
        assert link.inet_conf(IPV4_DEVCONF_ARP_NOTIFY) == wanted
        assert get(sock, "veth1").up


def test_peer(sock: NetlinkSocket, inside: NetlinkSocket, container_fd: int) -> None:
    sock.request(link_add_veth("veth1", "eth0", container_fd))
    found = link_peer(sock, get(inside, "eth0"))
    assert found is not None
    assert found.name == "veth1"


def test_peer_in_another_namespace(sock: NetlinkSocket, container_fd: int) -> None:
    """Another link has its number here."""
    sock.request_all([link_add_veth("a", "b"), link_add_veth("veth1", "eth0", container_fd)])
    link = get(sock, "veth1")
    assert link_by_index(sock, link.peer) is not None
    assert link_peer(sock, link) is None


def test_absence_is_none(sock: NetlinkSocket) -> None:
    assert link_by_name(sock, "nope") is None
    assert link_by_index(sock, 4711) is None
    assert sock.request(link_del("nope").ignoring(ENODEV)) == ENODEV


def test_delete(sock: NetlinkSocket) -> None:
    sock.request_all([link_add_veth("veth1", "veth2"), link_add_bridge("cni0")])
    sock.request_all([link_del("veth2"), link_del(get(sock, "cni0").index)])
    assert [link.name for link in link_list(sock)] == ["lo"]


@pytest.mark.parametrize(
    ("failing", "message"),
    [
        (link_add_bridge("cni0"), "cannot create bridge cni0: file exists"),
        (link_set("nope", up=True), "cannot set nope up: no such device"),
        (link_set("lo", master=4711), "cannot set lo master link 4711: invalid argument"),
        (link_del(4711), "cannot delete link 4711: no such device"),
        (link_set_port("lo", hairpin=True), "cannot set bridge port lo: operation not supported"),
        (link_set("cni0", mtu=1), r"cannot set cni0 mtu 1: invalid argument \(mtu less than"),
    ],
)
def test_errors_are_sentences(sock: NetlinkSocket, failing: Any, message: str) -> None:
    sock.request(link_add_bridge("cni0"))
    with pytest.raises(NetlinkError, match=f"^{message}"):
        sock.request(failing)


def test_peer_name_taken(
    container: Namespace, sock: NetlinkSocket, inside: NetlinkSocket, container_fd: int
) -> None:
    inside.request(link_add_veth("eth0", "other"))
    with pytest.raises(NetlinkError) as caught:
        sock.request(link_add_veth("veth1", "eth0", container_fd))
    assert caught.value.errno == EEXIST
    assert link_by_name(sock, "veth1") is None


def test_batch_goes_on_after_a_failure(sock: NetlinkSocket) -> None:
    with pytest.raises(NetlinkError, match="cannot set nope up"):
        sock.request_all([link_set("nope", up=True), link_set("nope2", up=True), link_add_bridge("cni0")])
    assert get(sock, "cni0").up


def test_lists_of_hundreds(host: Namespace, sock: NetlinkSocket) -> None:
    # Links that are up change their state in the background, between our look and pyroute2's.
    sock.request(link_add_bridge("cni0", up=False))
    bridge = get(sock, "cni0").index
    pairs = [
        link_add_veth(f"veth{i}", f"peer{i}", master=bridge if i % 2 else None, mtu=1400 + i, up=False)
        for i in range(200)
    ]
    assert sock.request_all(pairs) == [0] * 200
    links = link_list(sock)
    assert len({link.name for link in links}) == len(links) == 402
    assert len(link_list(sock, kind="veth")) == 400
    assert [link.name for link in link_list(sock, kind="bridge")] == ["cni0"]
    assert {link.name for link in link_list(sock, master=bridge)} == {f"veth{i}" for i in range(1, 200, 2)}
    assert link_list(sock, kind="vlan") == []
    assert link_list(sock, master=bridge, kind="bridge") == []
    compare_with_pyroute2(host, {link.index: link for link in links})


def compare_with_pyroute2(namespace: Namespace, links: dict[int, Link]) -> None:
    with IPRoute(netns=namespace.name) as ipr:
        theirs = list(ipr.get_links())
    assert {link["index"] for link in theirs} == set(links)
    for message in theirs:
        link = links[message["index"]]
        assert link.name == attr(message, "IFLA_IFNAME")
        assert link.flags == message["flags"]
        assert link.mac == packed_mac(attr(message, "IFLA_ADDRESS"))
        assert link.mtu == attr(message, "IFLA_MTU")
        assert link.master == (attr(message, "IFLA_MASTER") or 0)
        assert link.peer == (attr(message, "IFLA_LINK") or 0)
        assert link.kind == (attr(message, "IFLA_LINKINFO", "IFLA_INFO_KIND") or "")
        state = attr(message, "IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA", "IFLA_BRPORT_STATE")
        assert (link.port.state if link.port else None) == state
