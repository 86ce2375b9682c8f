"""Rules of the firewall plugin that were found right are not looked at again before anything has changed."""

from pathlib import Path

import pytest

from netns.walled import assert_open_again, close_host, enter, ifname, leave
from support.counted_programs import Programs
from support.machine import Machine


@pytest.fixture
def programs(machine: Machine, tmp_path: Path) -> Programs:
    """The programs of iptables' variant nft, which are counted."""
    made = Programs(tmp_path / "programs", "nft")
    machine.path = made.path
    return made


def test_nothing_is_started_as_long_as_nothing_changes(machine: Machine, programs: Programs) -> None:
    configs = {"c1": enter(machine, ingressPolicy="same-bridge")}
    assert programs.count() > 0
    for name in ("c2", "c3"):
        configs[name] = enter(machine, container=name, ingressPolicy="same-bridge")
        for container, config in configs.items():
            machine.check(config, container, ifname("a"))
    leave(machine, configs.pop("c2"), "c2")
    assert programs.count() == 0
    for name, config in configs.items():
        leave(machine, config, name)
    assert_open_again(machine)


@pytest.mark.parametrize("family", ["iptables", "ip6tables"])
def test_a_change_is_noticed(machine: Machine, programs: Programs, family: str) -> None:
    config = enter(machine)
    machine.iptables("-D CNI-FORWARD 1", family=family)
    error = machine.fail(config, ifname=ifname("a"), command="CHECK")
    assert error["msg"] == "firewall rules of network a are missing or changed"
    other = enter(machine, container="c2")
    machine.check(config, ifname=ifname("a"))
    leave(machine, other, "c2")


def test_a_change_of_others_takes_no_look(machine: Machine, programs: Programs) -> None:
    config = enter(machine)
    programs.count()
    close_host(machine)
    machine.host.run("iptables", "-t", "nat", "-A", "PREROUTING", "-s", "192.0.2.1", "-j", "ACCEPT")
    machine.check(config, ifname=ifname("a"))
    other = enter(machine, container="c2")
    assert programs.count() == 0
    leave(machine, other, "c2")


def test_a_change_of_a_chain_takes_one_look(machine: Machine, programs: Programs) -> None:
    config = enter(machine)
    machine.iptables("-A FORWARD -s 192.0.2.1 -j ACCEPT")
    programs.count()
    for expected in (2, 0):
        machine.check(config, ifname=ifname("a"))
        assert programs.count() == expected


def test_another_configuration_is_another_s_rules(machine: Machine, programs: Programs) -> None:
    config = enter(machine)
    machine.check(config, ifname=ifname("a"))
    changed = config | {"ingressPolicy": "same-bridge"}
    machine.fail(changed, ifname=ifname("a"), command="CHECK")
    changed = config | {"iptablesAdminChainName": "MY-ADMIN"}
    machine.fail(changed, ifname=ifname("a"), command="CHECK")


def test_the_legacy_variant_is_always_asked(machine: Machine, tmp_path: Path) -> None:
    programs = Programs(tmp_path / "programs", "legacy")
    machine.path = programs.path
    config = enter(machine)
    programs.count()
    for _ in range(2):
        machine.check(config, ifname=ifname("a"))
        assert programs.count() == 2
    machine.iptables("-D CNI-FORWARD 1")
    machine.fail(config, ifname=ifname("a"), command="CHECK")


def test_the_last_container_takes_the_rules_along_unseen(machine: Machine, programs: Programs) -> None:
    """One program for each family, as long as nobody has made other rules."""
    config = enter(machine, ingressPolicy="same-bridge")
    programs.count()
    leave(machine, config)
    assert programs.count() == 2
    assert_open_again(machine)


@pytest.mark.parametrize("rule", ["-A CNI-FORWARD -s 192.0.2.1 -j ACCEPT", "-A OUTPUT -j CNI-FORWARD"])
def test_what_others_have_made_stays(machine: Machine, programs: Programs, rule: str) -> None:
    config = enter(machine)
    machine.iptables(rule)
    leave(machine, config)
    rules = machine.rules()
    assert any("CNI-FORWARD" in line and line.startswith("iptables -A") for line in rules)
    assert not any("shibafu" in line or line.startswith("ip6tables") for line in rules)
