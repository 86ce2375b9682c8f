"""Uplinks that are slaves of a bond, which the kernel switches."""

from collections.abc import Iterator

import pytest

from netns.uplink_lab import BRIDGE, CABLES, UplinkLab
from netns.watched import make_command
from support.machine import Machine
from support.namespaces import Namespace
from support.waiting import wait_for

BOND = f"bond-{BRIDGE}"
NO_BONDING = "this kernel has no bonding; use active-backup"


def _has_bonding() -> bool:
    with Namespace("probe") as probe:
        try:
            probe.run("ip", "link", "add", "probe", "type", "bond")
        except AssertionError:  # what it says of a program that fails
            return False
    return True


@pytest.fixture
def lab(machine: Machine) -> Iterator[UplinkLab]:
    with UplinkLab(machine, uplinkMode="bond") as made:
        yield made


@pytest.fixture
def bonded(lab: UplinkLab) -> UplinkLab:
    """A lab on a kernel that has the feature."""
    if not _has_bonding():
        pytest.skip("this kernel has no bonding (CONFIG_BONDING)")
    return lab


def _show(lab: UplinkLab) -> list[str]:
    return [lab.host.run("ip", "link", "show", name).split(" mtu ")[0] for name in CABLES]


def test_kernel_without_bonding(lab: UplinkLab) -> None:
    """It is said, and nothing has changed; with the default mode, the same links work."""
    if _has_bonding():
        pytest.skip("this kernel has bonding")
    before = lab.host.run("ip", "-br", "link")
    answer = lab.machine.call("ADD", lab.config)
    assert answer.json["msg"] == NO_BONDING
    assert lab.host.run("ip", "-br", "link") == before
    lab.config["uplinkMode"] = "active-backup"
    lab.machine.add(lab.config)
    assert lab.list_ports() == ["eth1"]


def test_living_network_without_bonding(lab: UplinkLab) -> None:
    """Another mode that cannot be leaves a network as it works."""
    if _has_bonding():
        pytest.skip("this kernel has bonding")
    lab.machine.add(lab.config | {"uplinkMode": "active-backup"})
    before = _show(lab)
    assert lab.machine.call("ADD", lab.config, "c2").json["msg"] == NO_BONDING
    assert lab.machine.call("CHECK", lab.config).json["msg"] == f"bond {BOND} is missing"
    shibafu = make_command(lab.machine.suite, lab.machine, lab.config)
    assert NO_BONDING in shibafu.fail("network repair net")
    assert _show(lab) == before
    with lab.stream():
        pass  # they arrive


def test_link_of_the_bonds_name_is_left_alone(lab: UplinkLab) -> None:
    """Somebody else's link is never taken."""
    lab.host.run("ip", "link", "add", BOND, "type", "bridge")
    before = lab.host.run("ip", "-br", "link")
    answer = lab.machine.call("ADD", lab.config)
    assert answer.json["msg"] == f"{BOND} already exists, and was not made for the uplinks of bridge {BRIDGE}"
    assert lab.host.run("ip", "-br", "link") == before


@pytest.mark.long
def test_bond_of_others_is_left_alone(bonded: UplinkLab) -> None:
    bonded.host.run("ip", "link", "add", BOND, "type", "bond")
    answer = bonded.machine.call("ADD", bonded.config)
    assert "was not made for the uplinks" in answer.json["msg"]


@pytest.mark.long
def test_kernel_switches(bonded: UplinkLab) -> None:
    """The bond is the only port, and a lost carrier needs no watcher, which only shows it."""
    bonded.machine.add(bonded.config)
    assert bonded.list_ports() == []
    assert f"master {BRIDGE}" in bonded.host.run("ip", "link", "show", BOND)
    assert all(f"master {BOND}" in bonded.host.run("ip", "link", "show", cable) for cable in CABLES)
    bonded.machine.check(bonded.config)
    with bonded.watch() as watched, bonded.stream() as stream:
        wait_for(lambda: bonded.read_states(watched) == {"eth1": "active", "eth2": "backup"})
        bonded.cut("eth1")
        stream.wait_for_arrivals()
        wait_for(lambda: bonded.read_states(watched) == {"eth1": "dead", "eth2": "active"})


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (f"ip link del {BOND}", f"bond {BOND} is missing"),
        (f"ip link set {BOND} nomaster", f"bond {BOND} is not a port of bridge {BRIDGE}"),
        (f"ip link set {BOND} down", f"bond {BOND} is down"),
        ("ip link set eth2 nomaster", "uplink eth2 is down"),
    ],
)
def test_faults_of_the_bond_are_repaired(bonded: UplinkLab, command: str, said: str) -> None:
    bonded.machine.add(bonded.config)
    bonded.host.run(*command.split())
    assert said in bonded.machine.call("CHECK", bonded.config).json["msg"]
    make_command(bonded.machine.suite, bonded.machine, bonded.config)("network repair net")
    bonded.machine.check(bonded.config)
    with bonded.stream():
        pass  # they arrive


@pytest.mark.long
def test_bond_comes_and_goes(bonded: UplinkLab) -> None:
    """The mode of a living network changes, and `rm` leaves the links to nobody."""
    backup = bonded.config | {"uplinkMode": "active-backup"}
    bonded.machine.add(backup)
    bonded.machine.add(bonded.config, "c2")
    assert bonded.list_ports() == []
    bonded.machine.add(backup, "c3")
    assert bonded.list_ports() == ["eth1"]
    assert BOND not in bonded.host.run("ip", "-br", "link")
    bonded.machine.add(bonded.config, "c4")
    for container in ("c2", "c3", "c4"):
        bonded.machine.delete(bonded.config, container)
    bonded.shibafu("network rm net --force")
    assert BRIDGE not in bonded.host.run("ip", "-br", "link")
