"""One thing of a running network is broken: CHECK and `repair --dry-run` see it alike, `repair` mends it.

Or it is on the list of what cannot be mended, which is said, with what to do.
"""

from collections.abc import Iterator
from json import loads
from pathlib import Path

import pytest

from netns.namespaces import Namespace
from shibafu.cni.names import calc_chain
from support.command import CommandLine
from support.machine import can_reach
from support.suite import Suite

GATEWAYS = ("10.66.0.1", "fd66::1")
# What is run ({port} is the container's link on the host), and what is said of it.
HOST: dict[str, tuple[str, str]] = {
    "bridge down": ("ip link set br-blue down", "bridge br-blue is down"),
    "bridge not promiscuous": ("ip link set br-blue promisc off", "not in promiscuous mode"),
    "bridge without ARP": ("ip link set br-blue arp off", "bridge br-blue does not answer ARP"),
    "bridge that listens to routers": (
        "sysctl -qw net.ipv6.conf.br-blue.accept_ra=2",
        "link br-blue listens to router advertisements",
    ),
    "bridge with another MAC": (
        "ip link set br-blue address 02:00:00:00:00:99",
        "has the hardware address 02:00:00:00:00:99, not ",
    ),
    "bridge in the group of isolated ones": ("ip link set br-blue group 23323", "in the group of isolated"),
    "gateway's IPv4 address": ("ip addr del 10.66.0.1/24 dev br-blue", "gateway address 10.66.0.1/24"),
    "gateway's IPv6 address": ("ip addr del fd66::1/64 dev br-blue", "gateway address fd66::1/64"),
    "IPv4 forwarding": ("sysctl -qw net.ipv4.ip_forward=0", "forwarding of IPv4 is switched off on the host"),
    "IPv6 forwarding": (
        "sysctl -qw net.ipv6.conf.all.forwarding=0",
        "forwarding of IPv6 is switched off on the host",
    ),
    "forwarding of the bridge": (
        "sysctl -qw net.ipv4.conf.br-blue.forwarding=0",
        "forwarding of IPv4 is switched off on br-blue",
    ),
    "the host's IPv4 route": ("ip route del 10.66.0.0/24 dev br-blue", "the host has no route to 10.66.0.2"),
    "the host's IPv6 route": ("ip -6 route del fd66::/64 dev br-blue", "the host has no route to fd66::2"),
    "port with another MTU": ("ip link set {port} mtu 1300", "link {port} of the host has an MTU of 1300"),
    "port down": ("ip link set {port} down", "link {port} of the host is down"),
    "port off the bridge": ("ip link set {port} nomaster", "link {port} is not a port of bridge br-blue"),
    "port disabled": ("bridge link set dev {port} state 0", "port {port} of bridge br-blue is disabled"),
    "port isolated": ("bridge link set dev {port} isolated on", "link {port} is isolated from other ports"),
    "spoof check": ("nft flush ruleset", "the guard against spoofed hardware addresses is missing on {port}"),
    "spoof check of the port alone": (
        "nft delete element bridge {table} ports {{ {port} }}",
        "the guard against spoofed hardware addresses is missing on {port}",
    ),
    "a rule in front of the spoof check": (
        "nft insert rule bridge {table} prerouting accept",
        "the guard against spoofed hardware addresses is missing on {port}",
    ),
    "rules": ("iptables -t nat -F", "firewall rules of network blue are missing"),
    "IPv6 rules": ("ip6tables -F", "firewall rules of network blue are missing"),
    "a rule in front of the network's": (
        "iptables -I {chain} -i br-blue -j ACCEPT",
        "firewall rules of network blue are mixed with others, or in another order",
    ),
    "a rule among the network's": (
        "ip6tables -t nat -I {chain} 2 -j RETURN",
        "firewall rules of network blue are mixed with others, or in another order",
    ),
}
CONTAINER: dict[str, tuple[str, str]] = {
    "interface down": ("ip link set eth0 down", "interface eth0 of the container is down"),
    "interface with a larger MTU": (
        "ip link set eth0 mtu 9000",
        "interface eth0 has an MTU of 9000, which is more than 1400",
    ),
    "interface without ARP": ("ip link set eth0 arp off", "interface eth0 does not answer ARP"),
    "interface with another MAC": (
        "ip link set eth0 address 02:00:00:00:00:98",
        "interface eth0 has the hardware address 02:00:00:00:00:98",
    ),
    "IPv4 address": ("ip addr del 10.66.0.2/24 dev eth0", "address 10.66.0.2/24 is missing on eth0"),
    "IPv6 address": ("ip addr del fd66::2/64 dev eth0", "address fd66::2/64 is missing on eth0"),
    "IPv4 default route": ("ip route del default", "route to 0.0.0.0/0 is missing in the container"),
    "IPv6 default route": ("ip -6 route del default", "route to ::/0 is missing in the container"),
    "IPv4 default route by another gateway": (
        "ip route replace default via 10.66.0.9 dev eth0",
        "route to 0.0.0.0/0 does not lead to 10.66.0.1 in the container",
    ),
    "IPv6 default route by another gateway": (
        "ip -6 route replace default via fd66::9 dev eth0",
        "route to ::/0 does not lead to fd66::1 in the container",
    ),
    "router advertisements": (
        "sysctl -qw net.ipv6.conf.eth0.accept_ra=1",
        "interface eth0 listens to router advertisements",
    ),
}
# How to break it, how to undo that, and what is said. docs/operation.md has the list.
UNMENDABLE: dict[str, tuple[str, str, str]] = {
    "a more specific route of others": (
        "ip route add 10.66.0.2/32 dev lo",
        "ip route del 10.66.0.2/32 dev lo",
        "packets of the host for 10.66.0.2 leave by lo, not by br-blue",
    ),
    "a blackhole": (
        "ip route add blackhole 10.66.0.2/32",
        "ip route del blackhole 10.66.0.2/32",
        "packets of the host for 10.66.0.2 are not let out, not by br-blue",
    ),
    "a routing rule": (
        "ip rule add to 10.66.0.0/24 table 77 && ip route add default dev lo table 77",
        "ip rule del to 10.66.0.0/24 table 77",
        "packets of the host for 10.66.0.2 leave by lo, not by br-blue",
    ),
}


class Network:
    """Network `blue`, with all that can be broken, and a container."""

    def __init__(self, shibafu: CommandLine, host: Namespace, web: Namespace) -> None:
        self.shibafu = shibafu
        self.host = host
        self.web = web
        shibafu(
            "network create blue --subnet 10.66.0.0/24 --subnet fd66::/64 "
            "--mtu 1400 --driver-opt promiscMode=true --driver-opt macspoofchk=true"
        )
        shibafu(f"network connect blue {web.name}")
        (self.port,) = (p["ifname"] for p in loads(host.run("ip", "-j", "link", "show", "master", "br-blue")))
        self.assert_sound()

    def assert_sound(self) -> None:
        """See that nothing is found, and that packets flow."""
        self.shibafu("network check")
        assert self.shibafu("network repair --dry-run") == "nothing to repair\n"
        for gateway in GATEWAYS:
            assert can_reach(self.host, gateway, self.web)

    def fill_in(self, text: str) -> str:
        """Return a text with the names of what is there."""
        chain = calc_chain("blue")
        return text.format(port=self.port, chain=chain, table=chain.lower())

    def assert_seen(self, said: str) -> None:
        """See that CHECK and the dry run say it, in the same words."""
        assert said in self.shibafu.run("network", "check", status=1)[0]
        faults = self.shibafu.json("network repair --dry-run", status=1)["faults"]
        assert any(said in fault["what"] for fault in faults), faults


@pytest.fixture
def network(suite: Suite, host: Namespace, tmp_path: Path) -> Iterator[Network]:
    with Namespace("web") as web, CommandLine(suite, host, tmp_path) as shibafu:
        yield Network(shibafu, host, web)


@pytest.mark.parametrize("what", [*HOST, *CONTAINER])
def test_a_breakage_is_seen_and_mended(network: Network, what: str) -> None:
    command, said = (HOST | CONTAINER)[what]
    place = network.host if what in HOST else network.web
    place.run("sh", "-ec", network.fill_in(command))
    network.assert_seen(network.fill_in(said))
    repaired = network.shibafu.json("network repair")["faults"]
    assert repaired
    assert all(fault["repaired"] for fault in repaired)
    network.assert_sound()


@pytest.mark.parametrize("what", UNMENDABLE)
def test_a_breakage_that_others_must_mend(network: Network, what: str) -> None:
    command, undo, said = UNMENDABLE[what]
    network.host.run("sh", "-ec", command)
    network.assert_seen(said)
    text, _ = network.shibafu.run("network", "repair", status=1)
    assert said in text
    assert "`ip rule`" in text
    network.host.run("sh", "-ec", undo)
    network.assert_sound()


@pytest.mark.parametrize("switch", ["ipv6.conf.br-red.disable_ipv6=0", "ipv4.conf.br-red.rp_filter=0"])
def test_the_bridge_of_an_internal_network_is_open(network: Network, switch: str) -> None:
    shibafu, host = network.shibafu, network.host
    with Namespace("db") as db:
        shibafu("network create red --subnet 10.67.0.0/24 --internal")
        shibafu(f"network connect red {db.name}")
        network.assert_sound()
        host.run("sysctl", "-qw", f"net.{switch}")
        network.assert_seen("bridge br-red is open to its containers")
        shibafu("network repair")
        network.assert_sound()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("iptables -t mangle -F {chain}-S", "firewall rules of network red are missing"),
        ("ip6tables -t mangle -D FORWARD 1", "firewall rules of network red are missing"),
        ("iptables -t mangle -I {chain}-S -j ACCEPT", "firewall rules of network red are mixed with others"),
        ("ip link set br-blue group 0", "bridge br-blue of another network is not kept apart"),
    ],
)
def test_a_strictly_isolated_network_is_open(network: Network, command: str, said: str) -> None:
    """To network blue, which is not isolated."""
    shibafu, web = network.shibafu, network.web
    with Namespace("db") as db:
        shibafu("network create red --subnet 10.67.0.0/24 --subnet fd67::/64 --isolate=strict")
        shibafu(f"network connect red {db.name}")
        network.assert_sound()
        network.host.run("sh", "-ec", command.format(chain=calc_chain("red")))
        assert any(can_reach(db, address, web) for address in ("10.67.0.2", "fd67::2"))
        network.assert_seen(said)
        shibafu("network repair")
        network.assert_sound()
        assert not any(can_reach(db, address, web) for address in ("10.67.0.2", "fd67::2"))


def test_networks_on_one_bridge_that_do_not_agree(network: Network) -> None:
    """Network red, which is isolated, comes to the bridge of blue, which is not: no repair opens it."""
    shibafu, web = network.shibafu, network.web
    shibafu("network create green --subnet 10.68.0.0/24 --isolate")
    shibafu("network create red --subnet fd67::/64 --isolate")
    (config,) = shibafu.conf_dir.glob("*red*")
    config.write_text(config.read_text().replace("br-red", "br-blue"))
    with Namespace("db") as db, Namespace("app") as app:
        shibafu(f"network connect green {app.name}")
        shibafu(f"network connect red {db.name}")
        network.assert_seen("link br-blue is still in the group of isolated networks")
        network.host.run("ip", "link", "set", "br-blue", "down")
        text, _ = shibafu.run("network", "repair", status=1)
        assert 'network "red" on bridge "br-blue" is isolated, and this one is not' in text
        assert all(can_reach(network.host, gateway, web) for gateway in GATEWAYS)
        assert not can_reach(web, "10.66.0.2", app)
        shibafu(f"network disconnect red {db.name}")
        shibafu("network repair")
        network.assert_sound()
        assert can_reach(web, "10.66.0.2", app)


def test_a_lease_that_is_gone_is_named(network: Network) -> None:
    (lease,) = network.shibafu.store.rglob("10.66.0.2")
    lease.unlink()
    network.shibafu.run("network", "check", status=1)
    (fault,) = network.shibafu.json("network repair", status=1)["faults"]
    assert fault["containerID"]
    assert not fault["repaired"]
