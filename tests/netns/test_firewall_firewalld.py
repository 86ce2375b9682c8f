"""shibafu-firewall with firewalld, which lets containers through; iptables keeps bridges apart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.walled import (
    REFERENCE,
    address,
    attach,
    enter,
    ifname,
    lead_outside_back,
    leave,
    remembered,
)
from support.firewalld import PROGRAM, Firewalld
from support.machine import Config, Machine
from support.traffic import OUTSIDE, Outside, can_reach

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="firewalld is not installed")

SUBNETS = {"10.1.0.0/24", "fd00:1::/64"}


@pytest.fixture
def firewalld(machine: Machine, tmp_path: Path) -> Iterator[Firewalld]:
    daemon = Firewalld(machine.host, tmp_path / "firewalld")
    machine.env = {"DBUS_SYSTEM_BUS_ADDRESS": daemon.address}
    yield daemon
    daemon.close()


def assert_nothing_is_left(machine: Machine, firewalld: Firewalld) -> None:
    """See that neither a rule nor a source is left, nor anything remembered."""
    assert firewalld.sources() == set()
    assert machine.rules() == []
    assert remembered(machine) == set()


@pytest.mark.parametrize("backend", ["", "firewalld"])
def test_lets_containers_out(machine: Machine, firewalld: Firewalld, backend: str) -> None:
    outside = Outside(machine.host)
    lead_outside_back(outside.namespace)
    config = attach(machine) | {"backend": backend}
    inside = machine.container()
    assert not can_reach(outside.namespace, OUTSIDE[4], inside)
    machine.add(config, ifname=ifname("a"))
    assert can_reach(outside.namespace, OUTSIDE[4], inside)
    assert firewalld.sources() == SUBNETS
    assert machine.rules() == []
    outside.close()
    leave(machine, config)
    assert_nothing_is_left(machine, firewalld)


def test_of_several_containers(machine: Machine, firewalld: Firewalld) -> None:
    """A network's subnets are there once; the last container takes them away, known or not."""
    first, second = enter(machine, container="c1"), enter(machine, container="c2", firewalldZone="trusted")
    leave(machine, first)
    assert firewalld.sources() == SUBNETS
    machine.check(second, "c2", ifname("a"))
    leave(machine, {key: second[key] for key in second if key != "prevResult"}, "c2")
    assert_nothing_is_left(machine, firewalld)


def test_isolation_is_iptables(machine: Machine, firewalld: Firewalld) -> None:
    a = enter(machine, "a", "c1", ingressPolicy="same-bridge")
    b = enter(machine, "b", "c2", ingressPolicy="same-bridge")
    one, two = machine.container("c1"), machine.container("c2")
    assert not can_reach(two, address(b), one)
    machine.iptables("-D", "FORWARD", "1")
    assert can_reach(two, address(b), one)
    assert machine.fail(a, "c1", ifname("a"), "CHECK")["msg"].startswith("firewall rules of network a")
    leave(machine, a)
    leave(machine, b, "c2")
    assert_nothing_is_left(machine, firewalld)


def test_check_after_a_reload(machine: Machine, firewalld: Firewalld) -> None:
    config = enter(machine)
    machine.check(config, ifname=ifname("a"))
    firewalld.reload()
    error = machine.fail(config, ifname=ifname("a"), command="CHECK")
    assert error["msg"] == "failed to find the address 10.1.0.0/24 in trusted zone"
    other = enter(machine, container="c2")
    machine.check(config, ifname=ifname("a"))
    for container, known in (("c1", config), ("c2", other)):
        leave(machine, known, container)
    assert_nothing_is_left(machine, firewalld)


def test_another_zone_has_the_source(machine: Machine, firewalld: Firewalld) -> None:
    firewalld.add_source("10.1.0.0/24", "public")
    config = attach(machine)
    error = machine.fail(config, ifname=ifname("a"))
    assert error["msg"].startswith("failed to add the address 10.1.0.0/24 to trusted zone: ")
    assert_nothing_is_left(machine, firewalld)


def test_zone_is_unknown(machine: Machine, firewalld: Firewalld) -> None:
    error = machine.fail(attach(machine) | {"firewalldZone": "nowhere"}, ifname=ifname("a"))
    assert "INVALID_ZONE" in error["msg"]
    assert_nothing_is_left(machine, firewalld)


def test_backend_is_changed(machine: Machine, firewalld: Firewalld) -> None:
    """Containers that are there already are let through by the other from then on."""
    first = enter(machine, container="c1")
    second = enter(machine, container="c2", backend="iptables")
    assert firewalld.sources() == set()
    assert machine.rules() != []
    leave(machine, first)
    leave(machine, second, "c2")
    assert_nothing_is_left(machine, firewalld)


def test_firewalld_has_ended(machine: Machine, firewalld: Firewalld) -> None:
    config = enter(machine)
    machine.env = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}
    assert machine.fail(config | {"backend": "firewalld"}, "c2", ifname("a"))["msg"].startswith(
        "firewalld cannot be reached: "
    )
    leave(machine, config)
    assert machine.rules() == []
    assert remembered(machine) == set()


@pytest.mark.skipif(not (REFERENCE / "firewall").exists(), reason="the reference plugins are not installed")
def test_takes_over(machine: Machine, firewalld: Firewalld) -> None:
    config: Config = attach(machine)
    machine.plugin = REFERENCE / "firewall"
    machine.add(config, ifname=ifname("a"))
    assert firewalld.sources() == {"10.1.0.2/32", "fd00:1::2/128"}
    machine.plugin = machine.suite.directory / "firewall"
    machine.check(config, ifname=ifname("a"))
    firewalld.remove_source("10.1.0.2/32")
    machine.fail(config, ifname=ifname("a"), command="CHECK")
    leave(machine, config)
    assert_nothing_is_left(machine, firewalld)
