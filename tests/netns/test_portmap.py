"""shibafu-portmap: what reaches a published port, with both families, backends and variants of iptables."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import SYSTEM_PATH, Config, Machine, link_iptables
from support.namespaces import Namespace
from support.published import TCP, UDP, Publisher, publish, reaches
from support.suite import Suite
from support.traffic import OUTSIDE, UPLINK, Outside, open_socket

families = pytest.mark.parametrize("version", [4, 6])
protocols = pytest.mark.parametrize("protocol", ["tcp", "udp"])

INSIDE = {4: "10.10.0.2", 6: "fd00:10::2"}
SECOND = {4: "10.10.0.3", 6: "fd00:10::3"}
GATEWAY = {4: "10.10.0.1", 6: "fd00:10::1"}
SECOND_INTERFACE: Config = {"network": "second", "ifname": "eth1"}
REGISTERS = Path("/run/shibafu/ports")
REFERENCE = Path("/usr/lib/cni/portmap")  # Debian's containernetworking-plugins


@pytest.fixture(params=["nft", "legacy", "nftables"])
def machine(suite: Suite, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A host whose iptables is of one variant, or where the other backend is used."""
    is_nftables = request.param == "nftables"
    path = SYSTEM_PATH if is_nftables else link_iptables(tmp_path / "bin", request.param)
    with Namespace("host") as host:
        host.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        made = Machine(suite, host, tmp_path, path)
        made.backend = "nftables" if is_nftables else "iptables"
        yield made
        register = REGISTERS / str(os.stat(host.path).st_ino)
        register.unlink(missing_ok=True)
        made.close()


@pytest.fixture
def config(machine: Machine) -> Config:
    """A dual-stack NAT network whose containers reach themselves by the bridge."""
    return machine.config("10.10.0.0/24", "fd00:10::/64", ipMasqBackend=machine.backend, hairpinMode=True)


@pytest.fixture
def publisher(machine: Machine) -> Publisher:
    return Publisher(machine, machine.backend)


@pytest.fixture
def outside(machine: Machine) -> Iterator[Outside]:
    made = Outside(machine)
    made.namespace.run("ip", "route", "add", "default", "via", UPLINK[4])
    made.namespace.run("ip", "-6", "route", "add", "default", "via", UPLINK[6])
    yield made
    made.close()


def assert_gone(machine: Machine) -> None:
    """See that no rule is left, and no register."""
    assert machine.rules() == []
    assert machine.tables() == set()
    assert not (REGISTERS / str(os.stat(machine.host.path).st_ino)).exists()


class TestTraffic:
    @families
    @protocols
    def test_from_outside(
        self, publisher: Publisher, config: Config, outside: Outside, version: int, protocol: str
    ) -> None:
        machine = publisher.machine
        result = machine.add(config)
        container = machine.container()
        server, place = (INSIDE[version], 80), (UPLINK[version], 8080)
        assert reaches(container, server, outside.namespace, place, protocol, patience=0.3) == ""
        mapping = publish(8080, 80, protocol)
        assert publisher.call("ADD", mapping, previous=result) == result
        # The client's own address: nothing that is not needed is masqueraded.
        assert reaches(container, server, outside.namespace, place, protocol) == OUTSIDE[version]
        assert publisher.call("CHECK", mapping, previous=result) is None
        assert publisher.call("DEL", mapping, previous=result) is None
        assert reaches(container, server, outside.namespace, place, protocol, patience=0.3) == ""
        machine.delete(config)
        assert_gone(machine)

    @families
    @protocols
    def test_from_the_host(self, publisher: Publisher, config: Config, version: int, protocol: str) -> None:
        machine = publisher.machine
        result = machine.add(config)
        publisher.call("ADD", publish(8080, 80, protocol), previous=result)
        container, server = machine.container(), (INSIDE[version], 80)
        assert reaches(container, server, machine.host, (GATEWAY[version], 8080), protocol)
        if version == 4:
            for loopback in ("127.0.0.1", "127.1.2.3"):
                assert reaches(container, server, machine.host, (loopback, 8080), protocol) == GATEWAY[4]

    @families
    @protocols
    @pytest.mark.parametrize("is_seen", [False, True], ids=["switched", "br_netfilter"])
    def test_from_containers(
        self, publisher: Publisher, config: Config, version: int, protocol: str, is_seen: bool
    ) -> None:
        """A neighbour, and the container itself, by an address of the host."""
        machine = publisher.machine
        switch = {4: "bridge-nf-call-iptables", 6: "bridge-nf-call-ip6tables"}[version]
        if is_seen and not os.path.exists(f"/proc/sys/net/bridge/{switch}"):
            pytest.skip("br_netfilter is not loaded")
        machine.host.run(
            "sysctl", "-qw", *([f"net.bridge.{switch}=1"] if is_seen else ["net.ipv4.ip_forward=1"])
        )
        result = machine.add(config)
        machine.add(config, "c2")
        publisher.call("ADD", publish(8080, 80, protocol), previous=result)
        container, server = machine.container(), (INSIDE[version], 80)
        for client in (machine.container("c2"), container):
            assert reaches(container, server, client, (GATEWAY[version], 8080), protocol)

    @families
    def test_of_another_network(self, publisher: Publisher, config: Config, version: int) -> None:
        machine = publisher.machine
        other = machine.config("10.20.0.0/24", "fd00:20::/64", name="other", bridge="br1", ipMasq=False)
        result = machine.add(config)
        machine.add(other, "c2")
        publisher.call("ADD", publish(8080, 80), previous=result)
        source = reaches(
            machine.container(), (INSIDE[version], 80), machine.container("c2"), (GATEWAY[version], 8080)
        )
        assert source == {4: "10.20.0.2", 6: "fd00:20::2"}[version]

    @families
    @pytest.mark.parametrize("snat", [True, False])
    def test_masq_all(
        self, publisher: Publisher, config: Config, outside: Outside, version: int, snat: bool
    ) -> None:
        machine = publisher.machine
        result = machine.add(config)
        publisher.call("ADD", publish(8080, 80), previous=result, masqAll=True, snat=snat)
        source = reaches(
            machine.container(), (INSIDE[version], 80), outside.namespace, (UPLINK[version], 8080)
        )
        assert source == GATEWAY[version]

    def test_without_snat(self, publisher: Publisher, config: Config, outside: Outside) -> None:
        machine = publisher.machine
        result = machine.add(config)
        mapping = publish(8080, 80)
        publisher.call("ADD", mapping, previous=result, snat=False)
        container, server = machine.container(), (INSIDE[4], 80)
        assert reaches(container, server, outside.namespace, (UPLINK[4], 8080)) == OUTSIDE[4]
        assert reaches(container, server, machine.host, ("127.0.0.1", 8080), patience=0.3) == ""
        assert publisher.call("CHECK", mapping, previous=result, snat=False) is None


class TestSeveralNetworks:
    @pytest.fixture
    def second(self, machine: Machine, config: Config) -> Config:
        """A container on two networks; the first has its default route, and the second publishes a port."""
        machine.host.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
        machine.add(config)
        keys = {"name": "second", "bridge": "br1", "isDefaultGateway": None, "isGateway": True}
        return machine.config("10.20.0.0/24", "fd00:20::/64", ipMasqBackend=machine.backend, **keys)

    @families
    @protocols
    def test_answers_leave_by_the_one_that_was_asked(
        self, publisher: Publisher, second: Config, outside: Outside, version: int, protocol: str
    ) -> None:
        machine = publisher.machine
        result = machine.add(second, ifname="eth1")
        mapping, names = publish(8080, 80, protocol), SECOND_INTERFACE
        publisher.call("ADD", mapping, previous=result, **names)
        container = machine.container()
        inside, place = {4: "10.20.0.2", 6: "fd00:20::2"}[version], (UPLINK[version], 8080)
        source = reaches(container, (inside, 80), outside.namespace, place, protocol)
        assert source == OUTSIDE[version]
        assert publisher.call("CHECK", mapping, previous=result, **names) is None
        before = machine.routes(container, f"-{version}", "rule")
        publisher.call("DEL", **names)
        left = machine.routes(container, f"-{version}", "rule")
        assert len(left) == len(before) - 1
        assert not [rule for rule in left if rule["src"] != "all"]

    def test_check_names_a_rule_that_is_missing(self, publisher: Publisher, second: Config) -> None:
        machine = publisher.machine
        result = machine.add(second, ifname="eth1")
        mapping, names = publish(8080, 80), SECOND_INTERFACE
        publisher.call("ADD", mapping, previous=result, **names)
        machine.container().run("ip", "rule", "del", "from", "10.20.0.2")
        error = publisher.call("CHECK", mapping, previous=result, status=1, **names)
        assert "answers from 10.20.0.2" in error["msg"]

    def test_a_container_of_one_network_has_no_rules(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        publisher.call("ADD", publish(8080, 80), previous=machine.add(config))
        rules = machine.routes(machine.container(), "rule")
        assert not [rule for rule in rules if rule["src"] != "all"]


class TestPorts:
    @families
    @protocols
    def test_a_range_keeps_the_order(
        self, publisher: Publisher, config: Config, outside: Outside, version: int, protocol: str
    ) -> None:
        machine = publisher.machine
        result = machine.add(config)
        # One key and many, as a runtime without it writes a range; both shifted and straight.
        mappings = [publish(8000, 80, protocol, range=5), publish(9000, 9000, protocol, range=5)]
        mappings += [publish(7000 + i, 7000 + i, protocol) for i in range(4)]
        publisher.call("ADD", *mappings, previous=result)
        container = machine.container()
        for outer, inner in ((8000, 80), (8004, 84), (9000, 9000), (9004, 9004), (7000, 7000), (7003, 7003)):
            place = (UPLINK[version], outer)
            assert reaches(container, (INSIDE[version], inner), outside.namespace, place, protocol)
        for outer, inner in ((8005, 85), (9005, 9005), (7004, 7004)):
            server, place = (INSIDE[version], inner), (UPLINK[version], outer)
            assert reaches(container, server, outside.namespace, place, protocol, patience=0.2) == ""
        assert publisher.call("CHECK", *mappings, previous=result) is None
        publisher.call("DEL")
        machine.delete(config)
        assert_gone(machine)

    @families
    def test_an_address_of_the_host(
        self, publisher: Publisher, config: Config, outside: Outside, version: int
    ) -> None:
        machine = publisher.machine
        result = machine.add(config)
        mappings = [
            publish(8080, 80, hostIP=UPLINK[version]),
            publish(8080, 81, hostIP=GATEWAY[version]),
            publish(9000, 9000, hostIP=UPLINK[version], range=3),
            publish(9100, 9200, hostIP=UPLINK[version], range=3),
        ]
        publisher.call("ADD", *mappings, previous=result)
        container, client = machine.container(), outside.namespace
        for outer, inner in ((8080, 80), (9002, 9002), (9101, 9201)):
            assert reaches(container, (INSIDE[version], inner), client, (UPLINK[version], outer))
        assert reaches(container, (INSIDE[version], 81), client, (GATEWAY[version], 8080))
        server, place = (INSIDE[version], 9001), (GATEWAY[version], 9001)
        assert reaches(container, server, client, place, patience=0.2) == ""
        assert publisher.call("CHECK", *mappings, previous=result) is None

    @pytest.mark.parametrize(("address", "reached"), [("0.0.0.0", 4), ("::", 6)])  # noqa: S104 - not bound
    def test_an_unspecified_address_is_all_of_its_family(
        self, publisher: Publisher, config: Config, outside: Outside, address: str, reached: int
    ) -> None:
        machine = publisher.machine
        publisher.call("ADD", publish(8080, 80, hostIP=address), previous=machine.add(config))
        for version in (4, 6):
            server, place = (INSIDE[version], 80), (UPLINK[version], 8080)
            found = reaches(machine.container(), server, outside.namespace, place, patience=0.3)
            assert bool(found) == (version == reached)

    @protocols
    def test_any_free_port(self, publisher: Publisher, config: Config, protocol: str) -> None:
        machine = publisher.machine
        result = machine.add(config)
        wanted = publish(0, 80, protocol)
        answer = publisher.call("ADD", wanted, previous=result)
        chosen = answer.pop("portMappings")
        assert answer == result
        assert chosen == [wanted | {"hostPort": chosen[0]["hostPort"]}]
        place = (GATEWAY[4], chosen[0]["hostPort"])
        assert reaches(machine.container(), (INSIDE[4], 80), machine.host, place, protocol)
        assert publisher.call("CHECK", wanted, previous=answer) is None
        publisher.call("DEL", wanted)
        machine.delete(config)
        assert_gone(machine)

    def test_keys_of_any_case(self, publisher: Publisher, config: Config, outside: Outside) -> None:
        """containerd's CRI plugin writes them so."""
        machine = publisher.machine
        mapping = {"HostPort": 8080, "ContainerPort": 80, "Protocol": "TCP", "HostIP": ""}
        publisher.call("ADD", mapping, previous=machine.add(config))
        assert reaches(machine.container(), (INSIDE[4], 80), outside.namespace, (UPLINK[4], 8080))

    def test_without_ports_nothing_is_done(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        result = machine.add(config)
        before = machine.snapshot()
        assert publisher.call("ADD", previous=result) == result
        assert publisher.call("CHECK", previous=result) is None
        assert publisher.call("DEL", previous=result) is None
        assert machine.snapshot() == before


class TestConditions:
    @families
    def test_only_some_sources(
        self, publisher: Publisher, config: Config, outside: Outside, version: int
    ) -> None:
        machine = publisher.machine
        result = machine.add(config)
        family = {4: "ip", 6: "ip6"}[version]
        words = {
            "iptables": ["!", "-s", OUTSIDE[version]],
            "nftables": [family, "saddr", "!=", OUTSIDE[version]],
        }[publisher.backend]
        key: Config = {f"conditionsV{version}": words}
        mapping = publish(8080, 80)
        publisher.call("ADD", mapping, previous=result, **key)
        container, server = machine.container(), (INSIDE[version], 80)
        place = (UPLINK[version], 8080)
        assert reaches(container, server, outside.namespace, place, patience=0.3) == ""
        assert reaches(container, server, machine.host, place)
        other = 10 - version
        assert reaches(container, (INSIDE[other], 80), outside.namespace, (UPLINK[other], 8080))
        assert publisher.call("CHECK", mapping, previous=result, **key) is None
        publisher.call("DEL")
        machine.delete(config)
        assert_gone(machine)

    def test_a_chain_of_others_marks(self, publisher: Publisher, config: Config, outside: Outside) -> None:
        machine = publisher.machine
        if publisher.backend == "nftables":
            pytest.skip("a key of iptables")
        result = machine.add(config)
        for family in ("iptables", "ip6tables"):
            machine.iptables("-t nat -N KUBE-MARK-MASQ", family=family)
            machine.iptables("-t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000", family=family)
            machine.iptables(
                "-t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE", family=family
            )
        keys: Config = {"externalSetMarkChain": "KUBE-MARK-MASQ"}
        mapping = publish(8080, 80)
        publisher.call("ADD", mapping, previous=result, **keys)
        container, server = machine.container(), (INSIDE[4], 80)
        assert reaches(container, server, outside.namespace, (UPLINK[4], 8080)) == OUTSIDE[4]
        assert reaches(container, server, machine.host, ("127.0.0.1", 8080)) == GATEWAY[4]
        assert publisher.call("CHECK", mapping, previous=result, **keys) is None


class TestRefusals:
    def add(self, publisher: Publisher, config: Config) -> tuple[Config, Config]:
        return publisher.machine.add(config), publisher.machine.add(config, "c2")

    def test_a_port_of_another_container(
        self, publisher: Publisher, config: Config, outside: Outside
    ) -> None:
        machine = publisher.machine
        first, second = self.add(publisher, config)
        publisher.call("ADD", publish(8080, 80), publish(9000, 9000, range=10), previous=first)
        for mapping in (
            publish(8080, 80),
            publish(8080, 90, hostIP=UPLINK[4]),
            publish(9005, 1),
            publish(8000, 8000, range=100),
        ):
            error = publisher.call("ADD", mapping, previous=second, container="c2", status=1)
            assert error["code"] == 106
            assert "is taken by container c1 on network net" in error["msg"]
        for mapping in (publish(8080, 80, "udp"), publish(8081, 80), publish(9010, 80)):
            publisher.call("ADD", mapping, previous=second, container="c2")
        assert reaches(machine.container(), (INSIDE[4], 80), outside.namespace, (UPLINK[4], 8080))
        assert reaches(machine.container("c2"), (SECOND[4], 80), outside.namespace, (UPLINK[4], 9010))
        for name in ("c1", "c2"):
            publisher.call("DEL", container=name)
            machine.delete(config, name)
        assert_gone(machine)

    def test_other_addresses_are_other_ports(self, publisher: Publisher, config: Config) -> None:
        first, second = self.add(publisher, config)
        machine = publisher.machine
        machine.host.run("ip", "address", "add", "198.51.100.1/32", "dev", "lo")
        publisher.call("ADD", publish(8080, 80, hostIP=GATEWAY[4]), previous=first)
        publisher.call("ADD", publish(8080, 80, hostIP="198.51.100.1"), previous=second, container="c2")
        assert reaches(machine.container(), (INSIDE[4], 80), machine.host, (GATEWAY[4], 8080))
        assert reaches(machine.container("c2"), (SECOND[4], 80), machine.host, ("198.51.100.1", 8080))

    def test_twice_in_one_call(self, publisher: Publisher, config: Config) -> None:
        result = publisher.machine.add(config)
        before = publisher.machine.snapshot()
        error = publisher.call("ADD", publish(8081, 80), publish(8081, 81), previous=result, status=1)
        assert "port 8081/tcp is published twice" in error["msg"]
        assert publisher.machine.snapshot() == before

    @families
    @pytest.mark.parametrize("kind", [TCP, UDP])
    def test_a_port_that_a_program_waits_at(
        self, publisher: Publisher, config: Config, version: int, kind: int
    ) -> None:
        machine = publisher.machine
        result = machine.add(config)
        with open_socket(machine.host, version, TCP if kind == TCP else UDP) as waiting:
            waiting.bind((GATEWAY[version], 8080))
            if kind == TCP:
                waiting.listen()
            protocol, other = ("tcp", "udp") if kind == TCP else ("udp", "tcp")
            error = publisher.call("ADD", publish(8080, 80, protocol), previous=result, status=1)
            assert error["code"] == 106
            assert f"port 8080/{protocol} of the host is taken by python" in error["msg"]
            assert f"(process {os.getpid()})" in error["msg"]
            publisher.call("ADD", publish(8080, 80, other), previous=result)
        publisher.call("ADD", publish(8080, 80, protocol), previous=result)

    def test_who_is_gone_has_no_port(self, publisher: Publisher, config: Config, outside: Outside) -> None:
        """Its namespace went, and nobody has detached it."""
        machine = publisher.machine
        first, second = self.add(publisher, config)
        publisher.call("ADD", publish(8080, 80), previous=first)
        machine.container("c1").delete()
        publisher.call("ADD", publish(8080, 80), previous=second, container="c2")
        assert reaches(machine.container("c2"), (SECOND[4], 80), outside.namespace, (UPLINK[4], 8080))

    def test_a_network_without_addresses_of_a_family(self, publisher: Publisher) -> None:
        machine = publisher.machine
        only = machine.config("10.10.0.0/24", ipMasqBackend=machine.backend)
        mapping = publish(8080, 80)
        result = machine.add(only)
        publisher.call("ADD", mapping, previous=result)
        assert reaches(machine.container(), (INSIDE[4], 80), machine.host, (GATEWAY[4], 8080))
        assert publisher.call("CHECK", mapping, previous=result) is None


class TestRemoval:
    @pytest.mark.parametrize("netns", ["", "/run/netns/shibafu-no-such"])
    def test_del_needs_neither_ports_nor_namespace(
        self, publisher: Publisher, config: Config, netns: str
    ) -> None:
        machine = publisher.machine
        result = machine.add(config)
        publisher.call("ADD", publish(8080, 80), publish(53, 53, "udp"), previous=result)
        assert publisher.call("DEL", netns=netns) is None
        assert publisher.call("DEL", netns=netns) is None
        machine.delete(config)
        assert_gone(machine)

    @pytest.mark.parametrize("verb", ["DEL", "GC"])
    def test_without_the_register(
        self, publisher: Publisher, config: Config, outside: Outside, verb: str
    ) -> None:
        machine = publisher.machine
        for name in ("c1", "c2"):
            port = 8080 if name == "c1" else 8081
            publisher.call("ADD", publish(port, 80), previous=machine.add(config, name), container=name)
        shutil.rmtree(REGISTERS)
        place = (UPLINK[4], 8080)
        if verb == "DEL":
            publisher.call("DEL")
        else:
            publisher.collect(("c2", "eth0"))
        assert reaches(machine.container(), (INSIDE[4], 80), outside.namespace, place, patience=0.3) == ""
        assert reaches(machine.container("c2"), (SECOND[4], 80), outside.namespace, (UPLINK[4], 8081))
        publisher.collect()
        for name in ("c1", "c2"):
            machine.delete(config, name)
        assert_gone(machine)

    def test_others_outlive_a_register_that_was_lost(
        self, publisher: Publisher, config: Config, outside: Outside
    ) -> None:
        """The next container begins a new one, which does not tell of them, and goes."""
        machine = publisher.machine
        results = [machine.add(config, name) for name in ("c1", "c2")]
        publisher.call("ADD", publish(8080, 80), publish(9000, 9000, range=3), previous=results[0])
        shutil.rmtree(REGISTERS)
        publisher.call("ADD", publish(8081, 80), previous=results[1], container="c2")
        client, first, second = outside.namespace, machine.container(), machine.container("c2")
        for port, inner in ((8080, 80), (9001, 9001)):
            assert reaches(first, (INSIDE[4], inner), client, (UPLINK[4], port))
        assert reaches(first, (INSIDE[4], 80), machine.host, ("127.0.0.1", 8080))
        assert reaches(second, (SECOND[4], 80), client, (UPLINK[4], 8081))
        publisher.call("DEL", container="c2")
        assert reaches(first, (INSIDE[4], 80), client, (UPLINK[4], 8080))
        publisher.call("ADD", publish(8081, 80), previous=results[1], container="c2")
        publisher.call("DEL")
        assert reaches(first, (INSIDE[4], 80), client, (UPLINK[4], 8080), patience=0.3) == ""
        assert reaches(second, (SECOND[4], 80), client, (UPLINK[4], 8081))
        publisher.call("DEL", container="c2")
        for name in ("c1", "c2"):
            machine.delete(config, name)
        assert_gone(machine)

    def test_gc_of_what_is_not_listed(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        for i, name in enumerate(("c1", "c2")):
            publisher.call("ADD", publish(8080 + i, 80), previous=machine.add(config, name), container=name)
        publisher.collect(("c2", "eth0"))
        place = (GATEWAY[4], 8080)
        assert reaches(machine.container(), (INSIDE[4], 80), machine.host, place, patience=0.3) == ""
        assert reaches(machine.container("c2"), (SECOND[4], 80), machine.host, (GATEWAY[4], 8081))

    def test_a_refused_one_leaves_nothing(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        result = machine.add(config)
        before = machine.snapshot()
        keys: Config = {"conditionsV6": ["--no-such" if publisher.backend == "iptables" else "nosuch"]}
        error = publisher.call("ADD", publish(8080, 80), previous=result, status=1, **keys)
        assert "refused the rules" in error["msg"]
        assert machine.snapshot() == before
        assert not (REGISTERS / str(os.stat(machine.host.path).st_ino)).exists()

    def test_who_has_the_address_now_keeps_it(self, publisher: Publisher, config: Config) -> None:
        """The last container that had it is detached late."""
        machine = publisher.machine
        result = machine.add(config)
        publisher.call("ADD", publish(9090, 80), previous=result, container="late")
        mapping = publish(8080, 80)
        publisher.call("ADD", mapping, previous=result)
        publisher.call("DEL", container="late")
        assert publisher.call("CHECK", mapping, previous=result) is None
        container = machine.container()
        for address in ("127.0.0.1", GATEWAY[4]):
            assert reaches(container, (INSIDE[4], 80), machine.host, (address, 8080))
        assert reaches(container, (INSIDE[4], 80), container, (GATEWAY[4], 8080))

    def test_an_interface_may_be_called_anything(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        result = machine.add(config, ifname='e";}\\')
        mapping = publish(8080, 80)
        publisher.call("ADD", mapping, previous=result, ifname='e";}\\')
        assert publisher.call("CHECK", mapping, previous=result, ifname='e";}\\') is None
        assert reaches(machine.container(), (INSIDE[4], 80), machine.host, (GATEWAY[4], 8080))
        publisher.call("DEL", ifname='e";}\\')
        machine.delete(config, ifname='e";}\\')
        assert_gone(machine)

    def test_added_again_it_has_the_new_ports_only(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        result = machine.add(config)
        publisher.call("ADD", publish(8080, 80), previous=result)
        publisher.call("ADD", publish(8081, 80), previous=result)
        server = (INSIDE[4], 80)
        assert reaches(machine.container(), server, machine.host, (GATEWAY[4], 8081))
        assert reaches(machine.container(), server, machine.host, (GATEWAY[4], 8080), patience=0.3) == ""


class TestCheck:
    def test_names_what_is_missing(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        result = machine.add(config)
        mapping = publish(8080, 80)
        publisher.call("ADD", mapping, previous=result)
        if publisher.backend == "nftables":
            machine.host.run("nft", "delete", "element", "inet", "shibafu-ports", "any4", "{ tcp . 8080 }")
        else:
            rule = next(rule for rule in machine.rules() if "--dport 8080" in rule)
            machine.iptables(f"-t nat {rule.removeprefix('iptables ').replace('-A ', '-D ', 1)}")
        error = publisher.call("CHECK", mapping, previous=result, status=1)
        assert error["code"] == 104
        assert "8080" in error["msg"]

    def test_names_a_switch_that_is_off(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        result = machine.add(config)
        mapping = publish(8080, 80)
        publisher.call("ADD", mapping, previous=result)
        machine.host.run("sysctl", "-qw", "net.ipv4.conf.br0.route_localnet=0")
        error = publisher.call("CHECK", mapping, previous=result, status=1)
        assert "127.0.0.1" in error["msg"]

    def test_changes_nothing(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        result = machine.add(config)
        before = machine.snapshot()
        publisher.call("CHECK", publish(8080, 80), previous=result, status=1)
        assert machine.snapshot() == before


class TestConnections:
    def test_a_client_that_goes_on_sending_gets_to_the_container(
        self, publisher: Publisher, config: Config, outside: Outside
    ) -> None:
        """Its packets belong to a connection with the host until that is forgotten."""
        machine = publisher.machine
        result = machine.add(config)
        machine.iptables("-I INPUT -m conntrack --ctstate NEW -j ACCEPT")
        with (
            open_socket(machine.container(), 4, UDP) as server,
            open_socket(outside.namespace, 4, UDP) as client,
        ):
            server.bind((INSIDE[4], 53))
            client.bind((OUTSIDE[4], 5555))
            client.sendto(b"early", (UPLINK[4], 5353))
            publisher.call("ADD", publish(5353, 53, "udp"), previous=result)
            client.sendto(b"late", (UPLINK[4], 5353))
            assert server.recvfrom(16) == (b"late", (OUTSIDE[4], 5555))

    def test_a_client_that_goes_on_sending_gets_to_the_next_container(
        self, publisher: Publisher, config: Config, outside: Outside
    ) -> None:
        machine = publisher.machine
        results = [machine.add(config, name) for name in ("c1", "c2")]
        mapping = publish(5353, 53, "udp")
        with (
            open_socket(machine.container("c1"), 4, UDP) as first,
            open_socket(machine.container("c2"), 4, UDP) as second,
            open_socket(outside.namespace, 4, UDP) as client,
        ):
            first.bind((INSIDE[4], 53))
            second.bind((SECOND[4], 53))
            client.bind((OUTSIDE[4], 5555))
            publisher.call("ADD", mapping, previous=results[0])
            client.sendto(b"one", (UPLINK[4], 5353))
            assert first.recvfrom(16)[0] == b"one"
            publisher.call("DEL", mapping)
            publisher.call("ADD", mapping, previous=results[1], container="c2")
            client.sendto(b"two", (UPLINK[4], 5353))
            assert second.recvfrom(16) == (b"two", (OUTSIDE[4], 5555))

    def test_connections_of_others_stay(self, publisher: Publisher, config: Config, outside: Outside) -> None:
        """Containers ask a server beyond the host at the same port number."""
        machine = publisher.machine
        result = machine.add(config)
        with (
            open_socket(outside.namespace, 4, UDP) as server,
            open_socket(machine.container(), 4, UDP) as client,
        ):
            server.bind((OUTSIDE[4], 53))
            client.sendto(b"ask", (OUTSIDE[4], 53))
            _, source = server.recvfrom(16)
            publisher.call("ADD", publish(53, 53, "udp"), previous=result)
            server.sendto(b"answer", source)
            assert client.recv(16) == b"answer"


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference plugins are not installed")
class TestReference:
    """Containers whose ports the reference has published, and the same input for both."""

    def attach(self, publisher: Publisher, config: Config, *names: str) -> Publisher:
        """Attach containers, and have the reference publish a port of each."""
        if publisher.backend == "nftables":
            pytest.skip("Debian's release of the reference has iptables only")
        reference = Publisher(publisher.machine, "iptables", REFERENCE)
        for i, name in enumerate(names):
            result = publisher.machine.add(config | {"cniVersion": "1.0.0"}, name)
            mappings = publish(8080 + i, 80), publish(5353 + i, 53, "udp")
            reference.call("ADD", *mappings, previous=result, container=name, cniVersion="1.0.0")
        return reference

    def rules(self, machine: Machine) -> list[str]:
        """Return the rules that it does not leave for good."""
        return [rule for rule in machine.rules() if "CNI-DN-" in rule or "--dport" in rule]

    def test_check_sees_its_rules(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        self.attach(publisher, config, "c1")
        previous = machine.result(config)
        mappings = publish(8080, 80), publish(5353, 53, "udp")
        assert publisher.call("CHECK", *mappings, previous=previous, cniVersion="1.0.0") is None
        rule = next(rule for rule in machine.rules() if "--dport 8080" in rule and "DNAT" in rule)
        machine.iptables(f"-t nat {rule.removeprefix('iptables ').replace('-A ', '-D ', 1)}")
        error = publisher.call("CHECK", *mappings, previous=previous, cniVersion="1.0.0", status=1)
        assert "port 8080/tcp" in error["msg"]

    def test_del_takes_them_away(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        self.attach(publisher, config, "c1", "c2")
        publisher.call("DEL", publish(8080, 80), netns="")
        assert reaches(machine.container("c2"), (SECOND[4], 80), machine.host, (GATEWAY[4], 8081))
        place = (GATEWAY[4], 8080)
        assert reaches(machine.container(), (INSIDE[4], 80), machine.host, place, patience=0.3) == ""
        publisher.call("DEL", publish(8081, 80), container="c2", netns="")
        assert self.rules(machine) == []

    def test_gc_takes_away_what_is_not_listed(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        self.attach(publisher, config, "c1", "c2")
        publisher.collect(("c2", "eth0"))
        assert reaches(machine.container("c2"), (SECOND[4], 80), machine.host, (GATEWAY[4], 8081))
        assert not [rule for rule in self.rules(machine) if "8080" in rule]
        publisher.collect()
        assert self.rules(machine) == []

    def test_its_ports_are_taken(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        self.attach(publisher, config, "c1")
        result = machine.add(config, "c2")
        for mapping in (publish(8080, 80), publish(5300, 53, "udp", range=100)):
            error = publisher.call("ADD", mapping, previous=result, container="c2", status=1)
            assert error["code"] == 106
            assert "is taken by container c1 on network net" in error["msg"]
        publisher.call("ADD", publish(8080, 80, "udp"), publish(8081, 80), previous=result, container="c2")

    def test_added_again_a_container_has_ours(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        self.attach(publisher, config, "c1")
        publisher.call("ADD", publish(9090, 80), previous=machine.result(config), cniVersion="1.0.0")
        assert self.rules(machine) != []
        assert not [rule for rule in self.rules(machine) if "CNI-DN-" in rule]
        assert reaches(machine.container(), (INSIDE[4], 80), machine.host, (GATEWAY[4], 9090))

    @pytest.mark.parametrize(
        "keys",
        [
            {"markMasqBit": 32},
            {"markMasqBit": 13, "externalSetMarkChain": "X"},
            {"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 0, "protocol": "tcp"}]}},
            {"runtimeConfig": {"portMappings": [{"hostPort": -1, "containerPort": 80, "protocol": "tcp"}]}},
            {"prevResult": None, "runtimeConfig": {"portMappings": []}},
        ],
    )
    def test_refusals_have_its_words(self, publisher: Publisher, config: Config, keys: Config) -> None:
        result = publisher.machine.add(config | {"cniVersion": "1.0.0"})
        stated: Config = {"prevResult": result, "cniVersion": "1.0.0", "backend": None} | keys
        both = publisher, Publisher(publisher.machine, "", REFERENCE)
        ours, theirs = (one.call("ADD", status=1, **stated)["msg"] for one in both)
        assert ours == theirs
