"""shibafu-portmap: which ports are published, which are refused, and what is left afterwards."""

import os

import pytest

from netns.portmap.places import (
    GATEWAY,
    INSIDE,
    SECOND,
    assert_gone,
    families,
    find_register,
    protocols,
)
from support.machine import Config
from support.published import TCP, UDP, Publisher, publish, reaches
from support.traffic import UPLINK, Outside, open_socket


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
        find_register(machine).unlink()
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
        find_register(machine).unlink()
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
        assert not find_register(machine).exists()

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

    def test_names_one_of_many_that_is_missing(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        result = machine.add(config)
        mappings = [publish(8000 + 2 * i, 80 + i, "udp") for i in range(200)]
        publisher.call("ADD", *mappings, previous=result)
        assert publisher.call("CHECK", *mappings, previous=result) is None
        if publisher.backend == "nftables":
            machine.host.run("nft", "delete", "element", "inet", "shibafu-ports", "any4", "{ udp . 8124 }")
            expected = "set any4 of table inet shibafu-ports lacks the element: udp . 8124 "
        else:
            rule = next(r for r in machine.rules() if r.startswith("iptables ") and "--dport 8124" in r)
            change = rule.removeprefix("iptables ").replace("-A ", "-D ", 1)
            machine.iptables(f"-t nat {change}")
            expected = "iptables-restore: table nat lacks the rule: -A SHIBAFU-"
        error = publisher.call("CHECK", *mappings, previous=result, status=1)
        assert expected in error["msg"]
        assert "8124" in error["msg"]

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


def test_an_add_that_failed_without_the_program_can_be_undone(publisher: Publisher, config: Config) -> None:
    machine = publisher.machine
    result = machine.add(config)
    machine.hide("mount -t tmpfs none /usr/sbin")
    mapping = publish(8080, 80)
    error = publisher.call("ADD", mapping, previous=result, status=1)
    assert "is not installed" in error["msg"]
    publisher.call("DEL", mapping, previous=result)
    publisher.call("DEL")
    nobody: Config = {"cni.dev/valid-attachments": []}
    publisher.call("GC", **nobody)
    machine.prefix = []
    machine.delete(config)
    assert_gone(machine)


def test_garbage_takes_no_descriptor_for_each_container(publisher: Publisher, config: Config) -> None:
    """Programs that have done their work are not waited for, but what they wrote to is not kept either."""
    machine = publisher.machine
    names = [f"c{number}" for number in range(24)]
    for number, name in enumerate(names):
        previous = machine.add(config, name)
        publisher.call("ADD", publish(8080 + number, 80), previous=previous, container=name)
    machine.prefix = ["/usr/bin/prlimit", "--nofile=48"]
    publisher.collect()
    machine.prefix = []
    for name in names:
        machine.delete(config, name)
    assert_gone(machine)
