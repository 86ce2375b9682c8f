"""A network's rules: made with its first container, gone with its last, healed between."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import Config, Machine, link_iptables
from support.namespaces import Namespace
from support.suite import Suite
from support.traffic import OUTSIDE, UPLINK, Outside, ask_source

# How many a dual-stack NAT network has.
RULES = 40


@pytest.fixture(params=["nft", pytest.param("legacy", marks=pytest.mark.long)])
def machine(suite: Suite, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A host whose iptables is of one variant."""
    path = link_iptables(tmp_path / "bin", request.param)
    with Namespace("host") as host:
        made = Machine(suite, host, tmp_path, path)
        yield made
        made.close()


@pytest.fixture
def config(machine: Machine) -> Config:
    """A dual-stack NAT network."""
    return machine.config("10.10.0.0/24", "fd00:10::/64")


def masquerades(machine: Machine, outside: Outside, container: str = "c1") -> bool:
    return all(
        ask_source(outside.namespace, OUTSIDE[version], machine.container(container), socket.SOCK_DGRAM)
        == UPLINK[version]
        for version in (4, 6)
    )


def test_rules_belong_to_the_network_and_not_to_a_container(machine: Machine, config: Config) -> None:
    assert machine.rules() == []
    machine.add(config, "c1")
    rules = machine.rules()
    assert len([rule for rule in rules if "MASQUERADE" in rule]) == 2
    assert len([rule for rule in rules if " -A FORWARD " in rule]) == 10
    assert len([rule for rule in rules if "POSTROUTING" in rule]) == 2
    assert all("SHIBAFU-" in rule or "shibafu network net" in rule for rule in rules)
    for container in ("c2", "c3"):
        machine.add(config, container)
        assert machine.rules() == rules
    machine.delete(config, "c1")
    machine.delete(config, "c3")
    assert machine.rules() == rules
    machine.delete(config, "c2")
    assert machine.rules() == []


def test_one_process_for_each_family(machine: Machine, config: Config) -> None:
    """For the first container of the first network, where iptables has no tables yet, and all that follow.

    Except where nothing has changed since the last: only the legacy variant does not tell.
    """
    log = machine.directory / "calls"
    path = machine.make_program(
        "ip6tables-restore", f'echo "$$" >>{log}; exec {machine.directory}/bin/${{0##*/}} "$@"'
    )
    other = config | {"name": "other", "bridge": "br1"}
    subnets = [[{"subnet": "10.20.0.0/24"}], [{"subnet": "fd00:20::/64"}]]
    other |= {"ipam": config["ipam"] | {"ranges": subnets}}
    attachments = [(config, "c1"), (config, "c2"), (other, "c3"), (other, "c4")]
    is_nft = os.readlink(machine.directory / "bin/iptables").endswith("nft-multi")
    for count, (network, container) in zip(
        (1, 1, 2, 2) if is_nft else (1, 2, 3, 4), attachments, strict=True
    ):
        machine.add(network, container, PATH=path)
        assert len(log.read_text().split()) == count
    log.unlink()
    for network, container in attachments:
        machine.delete(network, container, PATH=path)
    assert len(log.read_text().split()) == 2
    assert machine.rules() == []


def test_rules_of_others_are_left_alone(machine: Machine, config: Config) -> None:
    machine.iptables("-A", "FORWARD", "-s", "192.0.2.0/24", "-j", "DROP")
    machine.iptables("-t", "nat", "-N", "MINE")
    machine.iptables("-t", "nat", "-A", "POSTROUTING", "-j", "MINE")
    before = machine.rules()
    machine.add(config)
    machine.delete(config)
    assert machine.rules() == before


def test_another_subnet_of_the_network_gets_its_rules(machine: Machine) -> None:
    # The range of the configuration was changed while a container runs.
    machine.add(machine.config("10.10.0.0/24", isDefaultGateway=False), "c1")
    machine.add(machine.config("10.20.0.0/24", isDefaultGateway=False), "c2")
    sources = {rule.split()[4] for rule in machine.rules() if "MASQUERADE" in rule}
    assert sources == {"10.10.0.0/24", "10.20.0.0/24"}
    machine.delete(machine.config("10.20.0.0/24"), "c2")
    machine.delete(machine.config("10.20.0.0/24"), "c1")
    assert machine.rules() == []


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_a_bridge_with_another_name_and_containers_on_the_old_one(
    machine: Machine, config: Config, backend: str, outside: Outside
) -> None:
    config = config | {"ipMasqBackend": backend, "isolate": True}
    machine.add(config, "c1")
    if backend == "iptables":
        for family in ("iptables", "ip6tables"):
            machine.iptables("-P FORWARD DROP", family=family)
    subnets = [[{"subnet": "10.20.0.0/24"}], [{"subnet": "fd00:20::/64"}]]
    renamed = config | {"bridge": "br1", "ipam": config["ipam"] | {"ranges": subnets}}
    machine.add(renamed, "c2")
    machine.check(renamed, "c2")
    assert masquerades(machine, outside, "c1")
    assert masquerades(machine, outside, "c2")
    machine.add(renamed, "c3")
    machine.delete(renamed, "c2")
    machine.delete(renamed, "c1")
    machine.delete(renamed, "c3")
    assert machine.rules() == []
    assert machine.tables() == set()


FLUSHES = [
    ["-t nat -F"],
    ["-t nat -F", "-t nat -X"],
    ["-F FORWARD"],
    ["-F", "-X"],
    ["-F", "-X", "-t nat -F", "-t nat -X"],
    ["-t nat -F POSTROUTING"],
]


@pytest.mark.parametrize("flush", FLUSHES, ids=" ".join)
@pytest.mark.parametrize("family", ["iptables", "ip6tables"])
def test_a_flush_is_noticed_by_check_and_healed_by_the_next_add(
    machine: Machine, config: Config, flush: list[str], family: str
) -> None:
    machine.add(config, "c1")
    rules = machine.rules()
    for arguments in flush:
        machine.iptables(arguments, family=family)
    error = machine.fail(config, "c1", command="CHECK")
    assert error["msg"] == "firewall rules of network net are missing"
    machine.add(config, "c2")
    assert sorted(machine.rules()) == sorted(rules)
    machine.check(config, "c1")
    machine.check(config, "c2")
    machine.delete(config, "c1")
    machine.delete(config, "c2")
    assert machine.rules() == []


def test_healing_brings_the_traffic_back(machine: Machine, config: Config, outside: Outside) -> None:
    machine.add(config, "c1")
    assert masquerades(machine, outside)
    for family in ("iptables", "ip6tables"):
        machine.iptables("-P FORWARD DROP", family=family)
        for arguments in ("-F", "-X", "-t nat -F", "-t nat -X"):
            machine.iptables(arguments, family=family)
    machine.add(config, "c2")
    assert masquerades(machine, outside, "c1")
    assert masquerades(machine, outside, "c2")


@pytest.mark.parametrize("flush", FLUSHES, ids=" ".join)
def test_the_last_del_after_a_flush(machine: Machine, config: Config, flush: list[str]) -> None:
    machine.add(config)
    for arguments in flush:
        machine.iptables(arguments)
    machine.delete(config)
    assert machine.rules() == []
    assert machine.remembered() == set()


def test_doubled_rules_are_removed_too(machine: Machine, config: Config) -> None:
    machine.add(config)
    jump = next(rule for rule in machine.rules() if "-A POSTROUTING" in rule)
    machine.iptables("-t nat", jump.removeprefix("iptables "))
    machine.delete(config)
    assert machine.rules() == []


def test_a_single_missing_rule_is_noticed(machine: Machine, config: Config) -> None:
    machine.add(config)
    rules = [rule.split(" ", 1) for rule in machine.rules() if " -A " in rule]
    assert len(rules) == RULES
    for family, rule in rules:
        marks = {
            "mangle": ("PREROUTING", "INPUT", "-P ", "-I "),
            "nat": ("POSTROUTING", "-j RETURN", "MASQ"),
        }
        table = next((name for name, words in marks.items() if any(word in rule for word in words)), "filter")
        machine.iptables(f"-t {table}", rule.replace("-A ", "-D ", 1), family=family)
        error = machine.fail(config, command="CHECK")
        assert error["msg"] == "firewall rules of network net are missing"
        machine.add(config, "c2")
        machine.delete(config, "c2")
        machine.check(config)


def test_forty_at_the_same_moment(machine: Machine, config: Config) -> None:
    names = [f"c{number}" for number in range(40)]
    for name in names:
        machine.container(name)
    calls = {name: machine.start("ADD", config, name) for name in names}
    answers = {name: call.finish() for name, call in calls.items()}
    assert {name: answer for name, answer in answers.items() if answer.status} == {}
    for version in (0, 1):
        addresses = {answer.json["ips"][version]["address"] for answer in answers.values()}
        assert len(addresses) == 40
    assert len(machine.leases()) == 80
    rules = machine.rules()
    assert len(rules) == len(set(rules)) + 2  # a chain has one name in two tables of a family
    assert len([rule for rule in rules if " -A " in rule]) == RULES
    calls = {name: machine.start("DEL", config, name) for name in names}
    assert {name: answer for name in names if (answer := calls[name].finish()).status} == {}
    assert machine.rules() == []
    assert machine.leases() == set()
    assert machine.remembered() == set()


def test_adds_and_dels_in_a_tangle(machine: Machine, config: Config) -> None:
    """Whoever comes first or last, a container that is there has its rules."""
    names = [f"c{number}" for number in range(6)]
    for name in names:
        machine.container(name)
    for _ in range(3):
        running = [machine.start("ADD", config, name) for name in names[:3]]
        assert [call.finish().status for call in running] == [0, 0, 0]
        running = [machine.start("DEL", config, name) for name in names[:3]]
        running += [machine.start("ADD", config, name) for name in names[3:]]
        assert [call.finish().status for call in running] == [0] * 6
        assert len([rule for rule in machine.rules() if " -A " in rule]) == RULES
        running = [machine.start("DEL", config, name) for name in names[3:]]
        assert [call.finish().status for call in running] == [0, 0, 0]
        assert machine.rules() == []
        assert machine.remembered() == set()


def test_a_network_name_of_any_length(machine: Machine) -> None:
    config = machine.config(name="n" * 200)
    machine.add(config)
    machine.check(config)
    machine.delete(config)
    assert machine.rules() == []


def test_an_environment_without_path(machine: Machine, config: Config) -> None:
    # An OCI hook's environment is empty.
    machine.add(config, PATH=None)
    machine.delete(config, PATH=None)
    assert machine.remembered() == set()


def test_programs_of_path_are_used(machine: Machine, config: Config) -> None:
    machine.add(config)
    with_legacy = machine.host.run("xtables-legacy-multi", "iptables-save")
    assert ("SHIBAFU" in with_legacy) == ("legacy" in os.readlink(machine.directory / "bin/iptables"))


class TestNftables:
    """The other backend; iptables' variant does not matter to it."""

    @pytest.fixture
    def config(self, config: Config) -> Config:
        return config | {"ipMasqBackend": "nftables"}

    def test_one_table_for_the_network(self, machine: Machine, config: Config, outside: Outside) -> None:
        machine.add(config, "c1")
        [table] = machine.tables()
        machine.add(config, "c2")
        assert machine.tables() == {table}
        assert machine.rules() == []
        assert masquerades(machine, outside, "c1")
        assert masquerades(machine, outside, "c2")
        machine.check(config, "c1")
        machine.delete(config, "c1")
        assert machine.tables() == {table}
        machine.delete(config, "c2")
        assert machine.tables() == set()
        assert machine.remembered() == set()

    def test_a_flush_is_noticed_and_healed(self, machine: Machine, config: Config) -> None:
        machine.add(config, "c1")
        machine.host.run("nft", "flush", "ruleset")
        assert machine.fail(config, command="CHECK")["msg"] == "firewall rules of network net are missing"
        machine.add(config, "c2")
        machine.check(config, "c1")
        machine.host.run("nft", "flush", "ruleset")
        machine.delete(config, "c1")
        machine.delete(config, "c2")
        assert machine.tables() == set()

    def test_a_change_of_the_backend_while_containers_run(self, machine: Machine, config: Config) -> None:
        machine.add(config, "c1")
        machine.add(config | {"ipMasqBackend": "iptables"}, "c2")
        assert machine.tables() == set()
        assert len([rule for rule in machine.rules() if "MASQUERADE" in rule]) == 2
        machine.delete(config, "c1")
        machine.delete(config, "c2")
        assert machine.rules() == []


def test_a_comment_of_somebody_elses_rule_is_no_utf_8(machine: Machine, config: Config) -> None:
    for family in ("iptables", "ip6tables"):
        rule = (family, "-A", "FORWARD", "-m", "comment", "--comment", "f\udcfcr mich", "-j", "ACCEPT")
        machine.host.run("env", f"PATH={machine.path}", *rule)
    machine.add(config)
    machine.check(config)
    machine.delete(config)
