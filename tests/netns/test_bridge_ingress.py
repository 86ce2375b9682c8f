"""What containers must not send by way of the host, though they are root in their namespaces."""

import os
import socket
import subprocess
from collections.abc import Iterator
from json import dumps
from pathlib import Path

import pytest

from netns.intruding import claim, exchange, receive, remove_rules
from support.machine import SYSTEM_PATH, Config, Machine, link_iptables
from support.namespaces import Namespace
from support.remains import assert_no_rules
from support.suite import Suite
from support.traffic import OUTSIDE, UPLINK, Outside, arrives, ask_source, can_reach, open_socket

PORTMAP = "/usr/lib/cni/portmap"  # Debian's containernetworking-plugins
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
# As systemd-resolved has it.
RESOLVER = "127.0.0.53"
SPOOFED = {4: "198.51.100.7", 6: "2001:db8:77::7"}
FAMILIES = {4: "iptables", 6: "ip6tables"}

families = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(params=["nft", pytest.param("legacy", marks=pytest.mark.long), "nftables"])
def machine(suite: Suite, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A host whose iptables is of one variant, or where the other backend is used."""
    is_nftables = request.param == "nftables"
    path = SYSTEM_PATH if is_nftables else link_iptables(tmp_path / "bin", request.param)
    with Namespace("host") as host:
        host.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        made = Machine(suite, host, tmp_path, path)
        made.backend = "nftables" if is_nftables else "iptables"
        yield made
        made.close()


@pytest.fixture
def config(machine: Machine) -> Config:
    """A dual-stack NAT network."""
    return machine.config("10.10.0.0/24", "fd00:10::/64", ipMasqBackend=machine.backend, cniVersion="1.0.0")


class TestSources:
    @families
    def test_spoofed_ones_do_not_leave(
        self, machine: Machine, config: Config, outside: Outside, version: int
    ) -> None:
        machine.add(config)
        container = machine.container()
        claim(container, SPOOFED[version])
        own = {4: "10.10.0.2", 6: "fd00:10::2"}[version]
        assert ask_source(outside.namespace, OUTSIDE[version], container, TCP) == UPLINK[version]
        assert arrives(outside.namespace, OUTSIDE[version], container, own) == UPLINK[version]
        assert arrives(outside.namespace, OUTSIDE[version], container, SPOOFED[version]) == ""
        machine.check(config)
        machine.delete(config)
        assert_no_rules(machine)

    @families
    def test_what_the_host_routes_to_the_bridge_is_not_spoofed(
        self, machine: Machine, config: Config, outside: Outside, version: int
    ) -> None:
        """A container routes for others, as the end of a VPN does, and the host knows of it."""
        machine.add(config)
        container = machine.container()
        claim(container, SPOOFED[version])
        gateway = {4: "10.10.0.2", 6: "fd00:10::2"}[version]
        machine.host.run("ip", f"-{version}", "route", "add", SPOOFED[version], "via", gateway)
        assert ask_source(outside.namespace, OUTSIDE[version], container, TCP) == UPLINK[version]
        assert arrives(outside.namespace, OUTSIDE[version], container, SPOOFED[version]) == SPOOFED[version]

    @families
    @pytest.mark.parametrize("first", ["masqueraded", "other"])
    def test_networks_share_a_bridge(
        self, machine: Machine, config: Config, outside: Outside, version: int, first: str
    ) -> None:
        """The rules of one leave the other's containers alone, which has none."""
        # A bridge with two IPv4 addresses is refused: the second is the administrator's.
        keys = {"name": "other", "ipMasq": False, "isDefaultGateway": False}
        subnets = [[{"subnet": "10.20.0.0/24"}], [{"subnet": "fd00:20::/64"}]]
        other = config | keys | {"ipam": config["ipam"] | {"ranges": subnets}}
        both = [(config, "c1"), (other, "c2")]
        for one, name in both if first == "masqueraded" else reversed(both):
            machine.add(one, name)
        container = machine.container("c2")
        gateway, bits = {4: ("10.20.0.1", "24"), 6: ("fd00:20::1", "64")}[version]
        machine.host.run("ip", "addr", "add", f"{gateway}/{bits}", "dev", "br0")
        container.run("ip", f"-{version}", "route", "add", "default", "via", gateway)
        own = {4: "10.20.0.2", 6: "fd00:20::2"}[version]
        ask_source(outside.namespace, OUTSIDE[version], machine.container("c1"), TCP)
        assert arrives(outside.namespace, OUTSIDE[version], container, own) == own

    @families
    def test_an_answer_goes_by_the_containers_other_network(
        self, machine: Machine, config: Config, outside: Outside, version: int
    ) -> None:
        """Its default route is that of the first; what it answers to came by the second."""
        second = machine.config(
            *("10.20.0.0/24", "fd00:20::/64"),
            name="second",
            bridge="br1",
            isDefaultGateway=None,
            isGateway=True,
            ipMasqBackend=machine.backend,
        )
        machine.add(config)
        machine.add(second, ifname="eth1")
        if machine.backend == "iptables":
            machine.iptables("-P FORWARD DROP", family=FAMILIES[version])
        target = {4: "10.20.0.2:80", 6: "[fd00:20::2]:80"}[version]
        published = f"-d {UPLINK[version]} -p tcp --dport 8080 -j DNAT --to-destination {target}"
        machine.iptables(
            f"-t nat -A PREROUTING {published}",
            family=FAMILIES[version],
        )
        container = machine.container()
        with (
            open_socket(container, version, TCP) as listener,
            open_socket(outside.namespace, version, TCP) as talker,
        ):
            listener.bind(({4: "10.20.0.2", 6: "fd00:20::2"}[version], 80))
            listener.listen()
            talker.connect((UPLINK[version], 8080))
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"pong")
                assert talker.recv(4) == b"pong"

    @families
    def test_neighbours_are_left_alone(self, machine: Machine, config: Config, version: int) -> None:
        """Also where the host's firewall sees what the bridge forwards."""
        switch = {4: "bridge-nf-call-iptables", 6: "bridge-nf-call-ip6tables"}[version]
        if os.path.exists(f"/proc/sys/net/bridge/{switch}"):
            machine.host.run("sysctl", "-qw", f"net.bridge.{switch}=1")
        if machine.backend == "iptables":
            machine.iptables("-P FORWARD DROP", family=FAMILIES[version])
        for name in ("c1", "c2"):
            machine.add(config, name)
        first, second = machine.container("c1"), machine.container("c2")
        claim(first, SPOOFED[version])
        address = {4: "10.10.0.3", 6: "fd00:10::3"}[version]
        assert arrives(second, address, first, SPOOFED[version]) == SPOOFED[version]

    @families
    def test_a_policy_that_drops_holds_for_what_is_not_the_networks(
        self, machine: Machine, config: Config, outside: Outside, version: int
    ) -> None:
        """Only the network's own subnets are accepted, even if the host has a route to others."""
        if machine.backend == "nftables":
            pytest.skip("this backend accepts nothing")
        machine.add(config)
        container = machine.container()
        claim(container, SPOOFED[version])
        machine.host.run("ip", f"-{version}", "route", "add", SPOOFED[version], "dev", "br0")
        machine.iptables("-P FORWARD DROP", family=FAMILIES[version])
        assert ask_source(outside.namespace, OUTSIDE[version], container, TCP) == UPLINK[version]
        assert arrives(outside.namespace, OUTSIDE[version], container, SPOOFED[version]) == ""


class TestFamilies:
    @pytest.mark.parametrize("masquerade", [True, False])
    @pytest.mark.parametrize("version", [4, 6])
    def test_isolation_holds_for_the_family_that_a_network_does_not_have(
        self, machine: Machine, masquerade: bool, version: int
    ) -> None:
        """A container gives itself an address of it; the host forwards it for another network."""
        subnets = {4: ("10.10.0.0/24", "10.20.0.0/24"), 6: ("fd00:10::/64", "fd00:20::/64")}
        keys = {"isolate": True, "ipMasqBackend": machine.backend, "ipMasq": masquerade}
        blue = machine.config(subnets[10 - version][0], name="blue", bridge="br10", **keys)
        green = machine.config(subnets[4][1], subnets[6][1], name="green", bridge="br20", **keys)
        machine.add(blue, "c1")
        machine.add(green, "c2")
        attacker, target = machine.container("c1"), machine.container("c2")
        claim(attacker, {4: "192.0.2.7", 6: "2001:db8:99::7"}[version])
        mac = machine.links()["br10"]["address"]
        neighbour, address = {4: ("192.0.2.1", "10.20.0.2"), 6: ("fe80::1", "fd00:20::2")}[version]
        attacker.run("ip", "neigh", "replace", neighbour, "lladdr", mac, "dev", "eth0")
        attacker.run(
            *("ip", f"-{version}", "route", "add", address, "via", neighbour, "dev", "eth0"),
            *(["onlink"] if version == 4 else []),
        )
        # Green's own way in is open: not isolated, and not to be reached, are different things.
        assert can_reach(target, address, machine.host)
        assert not can_reach(target, address, attacker)
        machine.check(blue, "c1")
        machine.delete(blue, "c1")
        machine.delete(green, "c2")
        assert_no_rules(machine)

    def test_a_network_that_was_isolated_leaves_nothing_of_either_family(self, machine: Machine) -> None:
        blue = machine.config(ipMasqBackend=machine.backend)
        machine.add(blue | {"isolate": True}, "c1")
        machine.add(blue, "c2")
        machine.check(blue, "c2")
        machine.delete(blue, "c1")
        machine.delete(blue, "c2")
        assert_no_rules(machine)


@pytest.mark.skipif(not os.path.exists(PORTMAP), reason="the reference plugins are not installed")
class TestLoopback:
    def publish(self, machine: Machine, config: Config, result: Config, command: str = "ADD") -> None:
        """Have the reference's portmap plugin publish port 80 of a container, or take that back."""
        mappings = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
        document = {"name": config["name"], "cniVersion": config["cniVersion"], "type": "portmap"}
        document |= {"runtimeConfig": {"portMappings": mappings}, "prevResult": result, "snat": True}
        done = subprocess.run(
            ["nsenter", f"--net={machine.host.path}", PORTMAP],
            env={
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": "c1",
                "CNI_IFNAME": "eth0",
                "CNI_NETNS": machine.container().path,
                "CNI_PATH": os.path.dirname(PORTMAP),
                "PATH": machine.path,
            },
            input=dumps(document).encode(),
            check=False,
            stdout=subprocess.PIPE,
        )
        assert done.returncode == 0, done.stdout

    def aim(self, container: Namespace) -> None:
        """Have a container send to 127.0.0.1 by way of its gateway."""
        container.run("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
        container.run("sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1")
        container.run("ip", "route", "add", "127.0.0.0/8", "via", "10.10.0.1", "src", "10.10.0.2")

    def test_the_hosts_own_services_are_not_reached(self, machine: Machine, config: Config) -> None:
        result = machine.add(config)
        self.publish(machine, config, result)
        assert machine.host.run("sysctl", "-n", "net.ipv4.conf.br0.route_localnet").strip() == "1"
        container = machine.container()
        with open_socket(container, 4, TCP) as listener, open_socket(machine.host, 4, TCP) as talker:
            listener.bind(("10.10.0.2", 80))
            listener.listen()
            # What it is switched on for.
            talker.connect(("127.0.0.1", 8080))
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"pong")
                assert talker.recv(4) == b"pong"
        self.aim(container)
        assert not can_reach(machine.host, "127.0.0.1", container)
        assert not can_reach(machine.host, "127.5.5.5", container)
        self.publish(machine, config, result, "DEL")
        assert not can_reach(machine.host, "127.0.0.1", container)
        machine.check(config)

    @pytest.mark.parametrize("source", ["127.0.0.1", "127.5.5.5"])
    def test_nothing_comes_from_there(self, machine: Machine, config: Config, source: str) -> None:
        """Services take what does for the host's own."""
        self.publish(machine, config, machine.add(config))
        container = machine.container()
        container.run("sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1")
        assert arrives(machine.host, "10.10.0.1", container, "10.10.0.2") == "10.10.0.2"
        assert arrives(machine.host, "10.10.0.1", container, source) == ""
        machine.check(config)

    @pytest.mark.parametrize("keys", [{}, {"ipMasq": False}])
    def test_nothing_is_forged_of_what_the_host_has_with_itself(
        self, machine: Machine, config: Config, keys: Config
    ) -> None:
        """Its own resolver's answers, for instance: what belongs to a connection meets fewer rules."""
        published = config | {"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}}
        machine.add(published | keys)
        container = machine.container()
        machine.host.run("sysctl", "-qw", "net.ipv4.conf.br0.route_localnet=1")
        self.aim(container)
        claim(container, RESOLVER)
        with (
            open_socket(machine.host, 4, UDP) as resolver,
            open_socket(machine.host, 4, UDP, patience=0.3) as client,
            open_socket(container, 4, UDP) as attacker,
        ):
            resolver.bind((RESOLVER, 53))
            client.bind(("127.0.0.1", 0))
            exchange(client, resolver, (RESOLVER, 53))
            attacker.bind((RESOLVER, 53))
            attacker.sendto(b"forged", client.getsockname())
            assert receive(client) == b""
            remove_rules(machine)
            attacker.sendto(b"forged", client.getsockname())
            assert receive(client) == b"forged"

    def test_nothing_is_forged_of_what_a_container_has_with_the_host(
        self, machine: Machine, config: Config
    ) -> None:
        """The host's resolver answers containers by a rule of the administrator's; another network forges."""
        other = machine.config("10.20.0.0/24", name="other", bridge="br1", ipMasqBackend=machine.backend)
        machine.add(config)
        machine.add(other, "c2")
        container, second = machine.container(), machine.container("c2")
        for link in ("br0", "br1"):
            machine.host.run("sysctl", "-qw", f"net.ipv4.conf.{link}.route_localnet=1")
        machine.iptables(f"-t nat -A PREROUTING -p udp -d 192.0.2.53 -j DNAT --to-destination {RESOLVER}")
        second.run("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
        second.run("sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1")
        claim(second, RESOLVER)
        with (
            open_socket(machine.host, 4, UDP) as resolver,
            open_socket(container, 4, UDP, patience=0.3) as client,
            open_socket(second, 4, UDP) as attacker,
        ):
            resolver.bind((RESOLVER, 53))
            client.bind(("10.10.0.2", 0))
            exchange(client, resolver, ("192.0.2.53", 53))
            attacker.bind((RESOLVER, 53))
            attacker.sendto(b"forged", client.getsockname())
            assert receive(client) == b""
            exchange(client, resolver, ("192.0.2.53", 53))
            remove_rules(machine)
            attacker.sendto(b"forged", client.getsockname())
            assert receive(client) == b"forged"

    @pytest.mark.parametrize("keys", [{}, {"ipMasq": False}])
    def test_the_last_container_takes_the_way_there_along(
        self, machine: Machine, config: Config, keys: Config
    ) -> None:
        config |= keys
        result = machine.add(config)
        machine.add(config, "c2")
        self.publish(machine, config, result)
        self.publish(machine, config, result, "DEL")
        switch = ("sysctl", "-n", "net.ipv4.conf.br0.route_localnet")
        machine.delete(config)
        assert machine.host.run(*switch).strip() == "1"
        machine.delete(config, "c2")
        assert machine.host.run(*switch).strip() == "0"
        assert "SHIBAFU" not in str(machine.rules())

    def test_a_network_without_rules_gets_one_with_its_first_port(
        self, machine: Machine, config: Config
    ) -> None:
        """The runtime tells the plugin of ports, which a later plugin publishes."""
        config |= {"ipMasq": False}
        published = config | {"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}}
        result = machine.add(published)
        self.publish(machine, config, result)
        container = machine.container()
        self.aim(container)
        assert not can_reach(machine.host, "127.0.0.1", container)
        machine.check(published)
        machine.delete(published)
        # The plugin of ports leaves chains of its own.
        assert "SHIBAFU" not in str(machine.rules())
        assert machine.tables() == set()

    def test_a_port_that_the_plugin_was_not_told_of_is_noticed(
        self, machine: Machine, config: Config
    ) -> None:
        config |= {"ipMasq": False}
        result = machine.add(config)
        machine.check(config)
        self.publish(machine, config, result)
        container = machine.container()
        self.aim(container)
        assert can_reach(machine.host, "127.0.0.1", container)
        error = machine.fail(config, command="CHECK")
        assert error["msg"] == "firewall rules of network net are missing"
        machine.add(config, "c2")
        assert not can_reach(machine.host, "127.0.0.1", container)
        machine.check(config)

    @pytest.mark.parametrize("hook", ["PREROUTING", "INPUT"])
    def test_the_rule_is_missed_and_made_again(self, machine: Machine, config: Config, hook: str) -> None:
        machine.add(config)
        if machine.backend == "nftables":
            table = next(iter(machine.tables())).removeprefix("table ").split()
            machine.host.run("nft", "flush", "chain", *table, "prerouting")
        else:
            machine.iptables(f"-t mangle -F {hook}")
        assert machine.fail(config, command="CHECK")["msg"] == "firewall rules of network net are missing"
        machine.add(config, "c2")
        machine.check(config)
        machine.host.run("sysctl", "-qw", "net.ipv4.conf.br0.route_localnet=1")
        container = machine.container()
        self.aim(container)
        assert not can_reach(machine.host, "127.0.0.1", container)
