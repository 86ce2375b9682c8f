"""shibafu-portmap as a replacement of the reference's portmap, whose ports it checks and removes."""

import pytest

from netns.portmap.places import GATEWAY, INSIDE, REFERENCE, SECOND
from support.machine import Config, Machine
from support.published import Publisher, publish, reaches


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
