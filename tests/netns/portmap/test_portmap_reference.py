"""shibafu-portmap as a replacement of the reference's portmap, whose ports it checks and removes."""

import pytest

from netns.portmap.places import GATEWAY, INSIDE, REFERENCE, SECOND, families
from support.machine import Config, Machine
from support.published import Publisher, publish, reaches

# What newer releases of the reference make with nft (plugins/meta/portmap/portmap_nftables.go).
_TABLE = """
table {family} cni_hostport {{
    comment "CNI portmap plugin"
    chain hostports {{
        tcp dport 8080 dnat to {first} comment "c1"
        udp dport 5353 dnat to {first_dns} comment "c1"
        tcp dport 8081 dnat to {second} comment "c2"
    }}
    chain hostip_hostports {{
        {family} daddr {host} tcp dport 9090 dnat to {first} comment "c1"
    }}
    chain prerouting {{
        type nat hook prerouting priority -100;
        jump hostip_hostports
        jump hostports
    }}
    chain output {{
        type nat hook output priority -100;
        jump hostip_hostports
        fib daddr type local jump hostports
    }}
    chain masquerading {{
        type nat hook postrouting priority 100;
        {family} saddr {address} {family} daddr {address} masquerade comment "c1"
        {family} saddr {local} {family} daddr {address} masquerade comment "c1"
    }}
}}
"""


def publish_with_nft(machine: Machine, version: int) -> None:
    """Publish ports of the containers c1 and c2 as newer releases of the reference do."""
    family, place = {4: ("ip", "{}:{}"), 6: ("ip6", "[{}]:{}")}[version]
    table = _TABLE.format(
        family=family,
        host=GATEWAY[version],
        local={4: "127.0.0.1", 6: "::1"}[version],
        address=INSIDE[version],
        first=place.format(INSIDE[version], 80),
        first_dns=place.format(INSIDE[version], 53),
        second=place.format(SECOND[version], 80),
    )
    path = machine.directory / "reference.nft"
    path.write_text(table)
    machine.host.run("nft", "-f", str(path))


@families
def test_del_takes_away_what_its_newer_releases_have_made(
    publisher: Publisher, config: Config, version: int
) -> None:
    machine = publisher.machine
    for name in ("c1", "c2"):
        machine.add(config, name)
    publish_with_nft(machine, version)
    first, second = (
        (machine.container(), (INSIDE[version], 80)),
        (machine.container("c2"), (SECOND[version], 80)),
    )
    for port in (8080, 9090):
        assert reaches(*first, machine.host, (GATEWAY[version], port))
    publisher.call("DEL", netns="")
    for port in (8080, 9090):
        assert reaches(*first, machine.host, (GATEWAY[version], port), patience=0.3) == ""
    assert reaches(*second, machine.host, (GATEWAY[version], 8081))
    listed = machine.host.run("nft", "list", "ruleset")
    assert '"c1"' not in listed
    publisher.call("DEL", container="c2", netns="")
    assert '"c2"' not in machine.host.run("nft", "list", "ruleset")


@families
def test_gc_takes_away_what_its_newer_releases_have_made(
    publisher: Publisher, config: Config, version: int
) -> None:
    """The rules name no network: those of others, which lead to other subnets, stay."""
    machine = publisher.machine
    for name in ("c1", "c2"):
        machine.add(config, name)
    publish_with_nft(machine, version)
    family, elsewhere = {4: ("ip", "10.99.0.2:80"), 6: ("ip6", "[fd00:99::2]:80")}[version]
    rule = f'tcp dport 8099 dnat to {elsewhere} comment "c9"'
    machine.host.run("nft", f"add rule {family} cni_hostport hostports {rule}")
    place = (GATEWAY[version], 8080)
    assert reaches(machine.container(), (INSIDE[version], 80), machine.host, place)
    publisher.collect(("c1", "eth0"), ("c2", "eth0"))
    assert reaches(machine.container(), (INSIDE[version], 80), machine.host, place)
    publisher.collect(("c2", "eth0"))
    assert reaches(machine.container(), (INSIDE[version], 80), machine.host, place, patience=0.3) == ""
    place = (GATEWAY[version], 8081)
    assert reaches(machine.container("c2"), (SECOND[version], 80), machine.host, place)
    listed = machine.host.run("nft", "list", "ruleset")
    assert ['"c1"' in listed, '"c2"' in listed, rule in listed] == [False, True, True]


@families
def test_ports_of_its_newer_releases_are_taken(publisher: Publisher, config: Config, version: int) -> None:
    machine = publisher.machine
    publish_with_nft(machine, version)
    result = machine.add(config, "c3")
    for mapping in (
        publish(8080, 80),
        publish(5300, 53, "udp", range=100),
        publish(9090, 80, hostIP=GATEWAY[version]),
    ):
        error = publisher.call("ADD", mapping, previous=result, container="c3", status=1)
        assert error["code"] == 106
        assert error["msg"].endswith("is taken by container c1")
    mappings = publish(8080, 80, "udp"), publish(9090, 80, hostIP="192.0.2.1")
    publisher.call("ADD", *mappings, previous=result, container="c3")


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
