"""SHIBAFU-ADMIN: the administrator's rules come before those of all networks, and are left alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.namespaces import Namespace
from support.machine import OUTSIDE, Config, Machine, Outside, can_reach, link_iptables
from support.remains import assert_no_rules
from support.suite import Suite

FAMILIES = {4: "iptables", 6: "ip6tables"}
# Addresses of the first container of each network.
BLUE, GREEN = ({4: f"10.{n}.0.2", 6: f"fd00:{n}::2"} for n in (10, 20))

families = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(params=["nft", "legacy"])
def machine(suite: Suite, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A host whose iptables is of one variant."""
    with Namespace("host") as host:
        host.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        made = Machine(suite, host, tmp_path, link_iptables(tmp_path / "bin", request.param))
        yield made
        made.close()


def network(machine: Machine, name: str, number: int, **keys: object) -> Config:
    subnets = f"10.{number}.0.0/24", f"fd00:{number}::/64"
    return machine.config(*subnets, **{"name": name, "bridge": f"br{number}"} | keys)


@pytest.fixture
def blue(machine: Machine) -> Config:
    return network(machine, "blue", 10)


@pytest.fixture
def green(machine: Machine) -> Config:
    return network(machine, "green", 20)


def reaches(outside: Outside, container: Namespace, version: int) -> bool:
    return can_reach(outside.namespace, OUTSIDE[version], container)


def admin_rules(machine: Machine) -> list[str]:
    return [rule for rule in machine.rules() if " -A SHIBAFU-ADMIN " in rule]


@families
def test_a_drop_holds_for_all_networks(
    machine: Machine, blue: Config, green: Config, outside: Outside, version: int
) -> None:
    """For what their containers send, beyond the host and to each other, and for what they are sent."""
    machine.add(blue, "c1")
    machine.add(green, "c2")
    first, second = machine.container("c1"), machine.container("c2")
    assert reaches(outside, first, version)
    assert reaches(outside, second, version)
    assert can_reach(second, GREEN[version], first)
    machine.iptables(f"-A SHIBAFU-ADMIN -s {BLUE[version]} -j DROP", family=FAMILIES[version])
    assert not reaches(outside, first, version)
    assert not can_reach(second, GREEN[version], first)
    assert reaches(outside, second, version)
    machine.iptables("-F SHIBAFU-ADMIN", family=FAMILIES[version])
    machine.iptables(f"-A SHIBAFU-ADMIN -d {GREEN[version]} -j DROP", family=FAMILIES[version])
    assert not can_reach(second, GREEN[version], first)
    assert reaches(outside, first, version)


@families
def test_rules_are_never_touched(machine: Machine, blue: Config, green: Config, version: int) -> None:
    """Neither by further networks and containers, nor when rules are made again or removed."""
    family = FAMILIES[version]
    machine.add(blue, "c1")
    machine.iptables("-A SHIBAFU-ADMIN -i br10 -j DROP", family=family)
    rules = admin_rules(machine)
    assert len(rules) == 1
    machine.add(green, "c2")
    machine.iptables("-F FORWARD", family=family)
    assert machine.fail(blue, "c1", command="CHECK")["code"] == 104
    machine.add(blue, "c3")
    machine.check(blue, "c1")
    assert admin_rules(machine) == rules
    assert not can_reach(machine.container("c2"), GREEN[version], machine.container("c1"))
    for config, container in ((blue, "c1"), (blue, "c3"), (green, "c2")):
        machine.delete(config, container)
    assert machine.rules() == [f"{family} :SHIBAFU-ADMIN -", *rules]
    # It is there for the next one.
    machine.add(blue, "c1")
    result = machine.add(green, "c2")
    address = next(ip["address"] for ip in result["ips"] if (":" in ip["address"]) == (version == 6))
    assert admin_rules(machine) == rules
    assert not can_reach(machine.container("c2"), address.split("/")[0], machine.container("c1"))
    machine.iptables("-F SHIBAFU-ADMIN", family=family)
    machine.delete(green, "c2")
    machine.delete(blue, "c1")
    assert_no_rules(machine)


@pytest.mark.parametrize("others", ["br10", "br20"])
def test_it_is_missed_and_made_again(machine: Machine, blue: Config, green: Config, others: str) -> None:
    machine.add(blue, "c1")
    machine.add(green, "c2")
    rules = sorted(machine.rules())
    jump = next(rule for rule in rules if rule.endswith("-j SHIBAFU-ADMIN") and f" -i {others}" in rule)
    family, _, text = jump.partition(" -A ")
    machine.iptables(f"-D {text}", family=family)
    config = blue if others == "br10" else green
    assert "are missing" in machine.fail(config, {"br10": "c1", "br20": "c2"}[others], command="CHECK")["msg"]
    machine.add(config, "c3")
    assert sorted(machine.rules()) == rules


@pytest.mark.parametrize("made_by", ["administrator", "nobody"])
def test_many_networks_come_and_go_at_once(machine: Machine, made_by: str) -> None:
    """Each makes the chain if it is missing; the last one takes it along, as long as nobody wrote into it."""
    if made_by == "administrator":
        machine.iptables("-N SHIBAFU-ADMIN")
    configs = {f"c{n}": network(machine, f"net{n}", n) for n in range(10, 16)}
    for name in configs:
        machine.container(name)
    calls = [machine.start("ADD", config, name) for name, config in configs.items()]
    assert [answer for call in calls if (answer := call.finish()).status] == []
    assert len([rule for rule in machine.rules() if "-j SHIBAFU-ADMIN" in rule]) == 4 * len(configs)
    calls = [machine.start("DEL", config, name) for name, config in configs.items()]
    assert [answer for call in calls if (answer := call.finish()).status] == []
    # Those that went together left it to each other.
    assert set(machine.rules()) <= {f"{family} :SHIBAFU-ADMIN -" for family in FAMILIES.values()}
    assert machine.remembered() == set()
    machine.add(configs["c10"], "c10")
    machine.delete(configs["c10"], "c10")
    assert_no_rules(machine)


def test_it_goes_with_the_last_network_of_each_family(machine: Machine) -> None:
    both = machine.config("10.10.0.0/24", "fd00:10::/64")
    ipv4 = machine.config("10.20.0.0/24", name="other", bridge="br1")
    for first, second in ((both, ipv4), (ipv4, both)):
        machine.add(first)
        machine.add(second, ifname="eth1")
        machine.delete(first)
        machine.check(second, ifname="eth1")
        machine.delete(second, ifname="eth1")
        assert machine.rules() == []
