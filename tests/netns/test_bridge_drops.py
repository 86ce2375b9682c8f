"""Other tables that drop what a network's own rules accept: named while they do, and only then."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import CommandLine
from support.machine import SYSTEM_PATH, Config, Machine, link_iptables
from support.namespaces import Namespace
from support.suite import Suite
from support.traffic import OUTSIDE, Outside, ask_source, can_reach

FIRST = {4: "10.10.0.2", 6: "fd00:10::2"}
LEGACY = {4: "iptables-legacy", 6: "ip6tables-legacy"}
NFT = {4: "iptables-nft", 6: "ip6tables-nft"}
HOOK = "type filter hook forward priority 0"

families = pytest.mark.parametrize("version", [4, 6])

# Rules of others that let the network's packets through, or do not drop them for certain.
HARMLESS = {
    "a policy that accepts": "chain forward { HOOK; policy accept; }",
    "our subnets": "chain forward { HOOK; policy drop; ct state established,related accept; "
    "ip saddr 10.0.0.0/8 accept; ip6 saddr fd00::/8 accept; }",
    "any way out": 'chain forward { HOOK; policy drop; oifname "uplink" accept; '
    'iifname { "uplink", "x" } accept; }',
    "a zone": "chain forward { HOOK; ct state { established, related } accept; ct status dnat accept; "
    'iifname "lo" accept; jump zones; reject with icmpx admin-prohibited; } '
    'chain zones { iifname "br*" goto trusted; reject; } chain trusted { accept; }',
    "a map": "chain forward { HOOK; policy drop; ct state vmap { established : accept, related : accept, "
    'invalid : drop }; iifname vmap { "br0" : jump trusted, "x" : drop }; } chain trusted { accept; }',
    "a named set": "set inside { type ifname; elements = { br0, br1 }; } "
    "chain forward { HOOK; policy drop; iifname @inside accept; oifname @inside accept; }",
    "a drop elsewhere": 'chain forward { HOOK; iifname "docker0" drop; ip saddr 192.168.0.0/16 drop; '
    'ct state invalid drop; log prefix "drop { " comment "drop"; icmp type echo-request drop; }',
    "a mark": "chain first { type filter hook prerouting priority 0; meta mark set 7; } "
    "chain forward { HOOK; policy drop; meta mark 7 accept; }",
    "a route": "chain forward { HOOK; policy drop; fib saddr . iif oif != 0 accept; }",
}
# Rules that let others through.
DROPPING = {
    "a policy": "chain forward { HOOK; policy drop; }",
    "a last rule": 'chain forward { HOOK; ct state established,related accept; iifname "docker0" accept; '
    "meta l4proto { icmp, ipv6-icmp } accept; counter reject with icmpx admin-prohibited; }",
    "docker": "chain user { counter return; } chain docker { ip daddr 172.17.0.2 tcp dport 80 accept; } "
    "chain forward { HOOK; policy drop; counter jump user; "
    'oifname "docker0" ct state established,related counter accept; oifname "docker0" counter jump docker; '
    'iifname "docker0" oifname != "docker0" counter accept; }',
    "ufw": "chain user { ip saddr 192.168.0.0/16 accept; } "
    "chain before { ct state related,established accept; icmp type echo-request accept; jump user; } "
    "chain forward { HOOK; policy drop; jump before; }",
    "firewalld": "chain forward { HOOK; ct state { established, related } accept; ct status dnat accept; "
    'iifname "lo" accept; jump zones; ct state invalid drop; reject with icmpx admin-prohibited; } '
    'chain zones { iifname "docker0" goto trusted; goto public; } chain trusted { accept; } '
    "chain public { meta l4proto { icmp, ipv6-icmp } accept; }",
}


class Host:
    """A host with an uplink, and two containers of a network.

    Args:
        machine: the host.
        config: the network.
    """

    def __init__(self, machine: Machine, config: Config) -> None:
        self.machine = machine
        self.config = config
        self.outside = Outside(machine.host)
        for container in ("c1", "c2"):
            machine.add(config, container)

    def reaches_outside(self, version: int) -> bool:
        """Return whether a container reaches the world, and is answered."""
        try:
            ask_source(
                self.outside.namespace, OUTSIDE[version], self.machine.container(), socket.SOCK_DGRAM, 1
            )
        except OSError:
            return False
        return True

    def reaches_neighbour(self, version: int) -> bool:
        """Return whether a container reaches another one."""
        return can_reach(self.machine.container(), FIRST[version], self.machine.container("c2"))

    def refuse(self) -> Config:
        """See that CHECK and STATUS complain of the same, and return that."""
        error = self.machine.fail(self.config, command="CHECK")
        status = self.machine.fail(self.config | {"cniVersion": "1.1.0"}, command="STATUS")
        assert (status["msg"], status["details"], status["code"]) == (error["msg"], error["details"], 51)
        return error

    def accept(self) -> None:
        """See that neither complains."""
        self.machine.check(self.config)
        self.machine.check(self.config, "c2")
        answer = self.machine.call("STATUS", self.config | {"cniVersion": "1.1.0"})
        assert (answer.status, answer.stdout) == (0, b""), answer

    def follow_advice(self) -> list[str]:
        """Do what is advised until nothing is wrong; return what was."""
        said = []
        for _ in range(4):
            answer = self.machine.call("CHECK", self.config)
            if answer.status == 0:
                break
            said.append(answer.json["msg"])
            self.machine.host.run(*answer.json["details"].split("`")[1].split())
        self.accept()
        return said


class Hosts:
    """Makes hosts and closes them.

    Args:
        suite: the plugins.
        directory: for what they store.
    """

    def __init__(self, suite: Suite, directory: Path) -> None:
        self._suite = suite
        self._directory = directory
        self.made: list[Host] = []

    def make(self, backend: str, **keys: object) -> Host:
        """Make a host where the backend, or that variant of iptables, is used."""
        is_nftables = backend == "nftables"
        path = SYSTEM_PATH if is_nftables else link_iptables(self._directory / "bin", backend)
        namespace = Namespace("host")
        namespace.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        machine = Machine(self._suite, namespace, self._directory, path)
        keys = {"ipMasqBackend": "nftables" if is_nftables else "iptables", **keys}
        host = Host(machine, machine.config("10.10.0.0/24", "fd00:10::/64", **keys))
        self.made.append(host)
        return host


@pytest.fixture
def hosts(suite: Suite, tmp_path: Path) -> Iterator[Hosts]:
    hosts = Hosts(suite, tmp_path)
    yield hosts
    for host in hosts.made:
        host.outside.close()
        host.machine.close()
        host.machine.host.delete()


def load(host: Host, family: str, content: str, table: str = "filter") -> None:
    """Make a table."""
    host.machine.host.run("nft", render(family, content, table))


def render(family: str, content: str, table: str = "filter") -> str:
    """Return a table in the words of nft, which ends chains by lines."""
    lines = content.replace("HOOK", HOOK).replace("; }", ";\n}\n")
    return f"table {family} {table} {{\n{lines}}}"


@families
@pytest.mark.parametrize("backend", ["nftables", "nft", "legacy"])
def test_a_table_that_drops_is_named(hosts: Hosts, backend: str, version: int) -> None:
    host = hosts.make(backend)
    host.accept()
    family = {4: "ip", 6: "ip6"}[version]
    load(host, family, DROPPING["a policy"], "others")
    assert not host.reaches_outside(version)
    said = f"chain forward of table {family} others drops what is sent by the containers of network net"
    assert host.refuse()["msg"] == said
    assert len(host.follow_advice()) == 2  # for either direction
    assert host.reaches_outside(4)
    assert host.reaches_outside(6)


@pytest.mark.parametrize("content", DROPPING.values(), ids=DROPPING)
def test_what_lets_others_through_is_named(hosts: Hosts, content: str) -> None:
    host = hosts.make("nftables")
    load(host, "inet", content)
    assert not host.reaches_outside(4)
    host.refuse()
    host.follow_advice()
    assert host.reaches_outside(4)
    assert host.reaches_outside(6)


@pytest.mark.parametrize("content", HARMLESS.values(), ids=HARMLESS)
def test_what_lets_the_network_through_is_not(hosts: Hosts, content: str) -> None:
    host = hosts.make("nftables")
    load(host, "inet", content)
    host.accept()
    if "iif oif" not in content and "vmap" not in content:
        assert host.reaches_outside(4)


def test_a_rule_for_this_bridge_is_its_administrators_wish(hosts: Hosts) -> None:
    host = hosts.make("nftables")
    load(host, "inet", 'chain forward { HOOK; iifname "br0" drop; }')
    assert not host.reaches_outside(4)
    host.accept()


@families
@pytest.mark.parametrize(("backend", "other"), [("nft", LEGACY), ("nftables", LEGACY), ("legacy", NFT)])
def test_the_other_variant_of_iptables_is_named(
    hosts: Hosts, backend: str, other: dict[int, str], version: int
) -> None:
    host = hosts.make(backend)
    program = other[version]
    run = host.machine.host.run
    for line in (
        "-N DOCKER-USER",
        "-A FORWARD -j DOCKER-USER",
        "-A DOCKER-USER -j RETURN",
        "-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A FORWARD -i docker0 ! -o docker0 -m comment --comment 'out \"of\" it' -j ACCEPT",
        "-P FORWARD DROP",
    ):
        run("sh", "-c", f"{program} {line}")
    assert not host.reaches_outside(version)
    message = host.refuse()["msg"]
    assert f"chain FORWARD of {program if other is LEGACY else 'table ip'}" in message
    assert len(host.follow_advice()) == 2
    assert host.reaches_outside(4)
    assert host.reaches_outside(6)


@families
@pytest.mark.parametrize("backend", ["nft", "nftables"])
@pytest.mark.parametrize("rule", ["-i br+ -j ACCEPT", "-m physdev --physdev-is-bridged -j ACCEPT", "-j USER"])
def test_the_other_variant_may_accept(hosts: Hosts, backend: str, version: int, rule: str) -> None:
    host = hosts.make(backend)
    run = host.machine.host.run
    run(LEGACY[version], "-N", "USER")
    run(LEGACY[version], "-A", "USER", "!", "-i", "docker0", "-j", "ACCEPT")
    run(LEGACY[version], "-A", "FORWARD", *rule.split())
    run(LEGACY[version], "-A", "FORWARD", "-o", "br0", "-j", "ACCEPT")
    run(LEGACY[version], "-P", "FORWARD", "DROP")
    host.accept()


@families
@pytest.mark.parametrize("keys", [{}, {"ipMasq": False}, {"ipMasq": None, "isDefaultGateway": None}])
def test_what_stays_on_the_bridge_is_seen_with_br_netfilter(hosts: Hosts, version: int, keys: Config) -> None:
    host = hosts.make("nftables", **keys)
    load(host, "inet", DROPPING["docker"])
    for links in ("iifname br0 oifname uplink", "iifname uplink oifname br0"):
        host.machine.host.run("nft", f"insert rule inet filter forward {links} accept")
    host.accept()
    assert host.reaches_neighbour(version)
    name = {4: "iptables", 6: "ip6tables"}[version]
    host.machine.host.run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{name}=1")
    assert not host.reaches_neighbour(version)
    said = "chain forward of table inet filter drops what is exchanged between the containers of network net"
    assert host.machine.fail(host.config, command="CHECK")["msg"] == said
    host.follow_advice()
    assert host.reaches_neighbour(version)


def test_looking_does_not_bring_the_other_variant_into_being(hosts: Hosts) -> None:
    host = hosts.make("nftables")
    load(host, "inet", DROPPING["a policy"])
    host.refuse()
    names = host.machine.host.run("sh", "-c", "cat /proc/self/net/ip_tables_names || true")
    assert names == ""


def test_repair_names_it_and_leaves_it(suite: Suite, host: Namespace, tmp_path: Path) -> None:
    with Namespace("web") as web, CommandLine(suite, host, tmp_path) as shibafu:
        host.run("ip", "link", "add", "uplink", "type", "veth")
        shibafu("network create blue --subnet 10.66.0.0/24 --driver-opt ipMasqBackend=nftables")
        shibafu(f"network connect blue {web.name}")
        shibafu("network check blue")
        host.run("nft", render("inet", DROPPING["a policy"]))
        before = host.run("nft", "list", "ruleset")
        for line in ("network repair --dry-run", "network repair"):
            (fault,) = shibafu.json(line, status=1)["faults"]
            assert "chain forward of table inet filter drops what is sent by" in fault["what"]
            assert "nft insert rule inet filter forward iifname br-blue accept" in fault["advice"]
            assert not fault["repaired"]
        assert "table inet filter drops" in shibafu.run("network", "check", "blue", status=1)[0]
        assert host.run("nft", "list", "ruleset") == before
        host.run("nft", "delete", "table", "inet", "filter")
        assert "nothing to repair" in shibafu("network repair")
        shibafu("network check blue")


def test_the_rules_of_a_strictly_isolated_network_beside_it(hosts: Hosts) -> None:
    """They need not be read; a drop of somebody else's in the same chain is named."""
    host = hosts.make("nft")
    machine = host.machine
    strict = machine.config("10.20.0.0/24", "fd00:20::/64", name="strict", bridge="br20", isolate="strict")
    machine.add(strict, "c3")
    assert "mangle" in machine.host.run("nft", "list", "tables")
    called = machine.directory / "called"
    path = machine.make_program("nft", f'touch {called}; exec $REAL "$@"')
    machine.check(host.config, PATH=path)
    assert not called.exists()
    machine.iptables("-t mangle -A FORWARD -j DROP")
    assert host.refuse()["msg"].startswith("chain FORWARD of table ip mangle drops what is sent by ")
    machine.iptables("-t mangle -D FORWARD -j DROP")
    host.accept()
