"""What the command reads of a real namespace, beside what ip(8) shows of it."""

import json
from collections.abc import Iterator
from ipaddress import ip_interface
from socket import SOCK_DGRAM, socket
from typing import Any

import pytest

from shibafu.networks.errors import CommandError
from shibafu.networks.kernel import Kernel, open_kernel
from support.namespaces import Namespace

LINKS = """
link add br0 type bridge
link set br0 up mtu 1400
link add veth0 type veth peer name veth1
link set veth0 master br0 group 7
link set veth0 type bridge_slave hairpin on isolated on
link set veth0 up
link set veth1 up
addr add 10.66.0.1/24 dev br0
addr add fd66::1/64 dev br0 nodad
tuntap add tun0 mode tun
link set tun0 up
"""


@pytest.fixture
def kernel(container: Namespace) -> Iterator[Kernel]:
    """Return the kernel as it is seen from a namespace with a bridge, a pair and a tunnel."""
    for line in LINKS.split("\n"):
        if line:
            container.run("ip", *line.split())
    with container.enter(), open_kernel() as opened:
        yield opened


def shown(namespace: Namespace, *what: str) -> dict[str, Any]:
    return {link["ifname"]: link for link in json.loads(namespace.run("ip", "-j", "-d", "-s", *what))}


def test_links_are_as_ip_shows_them(container: Namespace, kernel: Kernel) -> None:
    seen, expected = kernel.links(), shown(container, "link")
    assert seen.keys() == expected.keys() == {"lo", "br0", "veth0", "veth1", "tun0"}
    for name, link in seen.items():
        told = expected[name]
        assert (link.index, link.mtu, link.mac) == (told["ifindex"], told["mtu"], told.get("address", ""))
        assert link.kind == told.get("linkinfo", {}).get("info_kind", "")
        assert link.is_up == ("UP" in told["flags"])
        assert link.has_carrier == ("LOWER_UP" in told["flags"])
    port, peer = seen["veth0"], seen["veth1"]
    assert (port.master, port.peer, peer.peer) == (seen["br0"].index, peer.index, port.index)
    assert (port.port_state, port.is_hairpin, port.is_isolated, port.group) == ("forwarding", True, True, 7)
    assert (peer.master, peer.port_state, peer.is_hairpin, peer.is_isolated) == (0, "", False, False)
    assert (seen["br0"].state, seen["tun0"].state) == ("up", "no carrier")


def test_counters_are_the_direction_that_the_namespace_sees(container: Namespace, kernel: Kernel) -> None:
    container.run("ip", "route", "add", "10.77.0.0/24", "dev", "veth1")
    container.run("ip", "neigh", "add", "10.77.0.9", "lladdr", "02:00:00:00:00:09", "dev", "veth1")
    before = kernel.links()
    with container.enter(), socket(type=SOCK_DGRAM) as sender:
        for _ in range(10):
            sender.sendto(bytes(1000), ("10.77.0.9", 9))
    after, told = kernel.links(), shown(container, "link")
    sent = after["veth1"].traffic.tx_bytes - before["veth1"].traffic.tx_bytes
    assert 10_420 <= sent < 12_000
    assert after["veth0"].traffic.rx_bytes - before["veth0"].traffic.rx_bytes >= 10_420
    assert after["veth1"].traffic.tx_packets - before["veth1"].traffic.tx_packets >= 10
    assert after["veth0"].traffic.rx_packets <= told["veth0"]["stats64"]["rx"]["packets"]


def test_addresses_are_those_of_the_links_but_link_local_ones(kernel: Kernel) -> None:
    links, addresses = kernel.links(), kernel.addresses()
    assert addresses[links["br0"].index] == [ip_interface("10.66.0.1/24"), ip_interface("fd66::1/64")]
    assert addresses[links["lo"].index] == [ip_interface("127.0.0.1/8"), ip_interface("::1/128")]
    assert links["veth0"].index not in addresses


@pytest.mark.parametrize(
    ("route", "network", "link", "is_far"),
    [
        ("10.80.0.0/16 dev br0", "10.80.0.0/16", "br0", False),
        ("10.80.0.0/16 via 10.66.0.9", "10.80.0.0/16", "br0", True),
        ("10.80.0.0/16 via inet6 fd66::9 dev br0", "10.80.0.0/16", "br0", True),
        ("fd80::/48 via fd66::9", "fd80::/48", "br0", True),
        ("unreachable 10.80.0.0/16", "10.80.0.0/16", "", True),
        ("10.80.0.0/16 dev tun0", "10.80.0.0/16", "tun0", True),
        ("10.80.0.0/16 nexthop via 10.66.0.9 nexthop via 10.66.0.8", "10.80.0.0/16", "br0", True),
        ("10.80.0.0/16 nexthop via 10.66.0.9 nexthop dev br0", "10.80.0.0/16", "br0", False),
    ],
)
def test_where_routes_lead(
    container: Namespace, kernel: Kernel, route: str, network: str, link: str, is_far: bool
) -> None:
    container.run("ip", "route", "add", *route.split())
    (seen,) = [seen for seen in kernel.routes() if str(seen.network) == network]
    assert (seen.link, seen.is_far) == (link, is_far)


def test_routes_that_no_subnet_collides_with_are_left_out(container: Namespace, kernel: Kernel) -> None:
    for route in ("default via 10.66.0.9", "128.0.0.0/1 via 10.66.0.9", "10.81.0.0/16 dev br0 table 100"):
        container.run("ip", "route", "add", *route.split())
    assert {str(seen.network) for seen in kernel.routes()} == {"10.66.0.0/24", "fd66::/64"}


def test_a_link_that_is_gone_is_a_failure_in_words(container: Namespace, kernel: Kernel) -> None:
    link = kernel.links()["veth0"]
    kernel.remove_link(link)
    assert kernel.links().keys() == {"lo", "br0", "tun0"}
    with pytest.raises(CommandError, match="cannot remove veth0: no such device"):
        kernel.remove_link(link)
