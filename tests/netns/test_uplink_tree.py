"""Uplinks that are all ports of the bridge, with STP: slow, and without a loop at any time."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from netns.uplink_lab import BRIDGE, CABLES, UplinkLab
from netns.watched import make_command
from support.machine import Machine
from support.waiting import wait_for

pytestmark = pytest.mark.long

# Seconds: 4 until a port forwards, and 6 more until news of a switch are too old; the rest is for a busy
# machine.
FORWARDED, AGED = 8.0, 14.0
# Packets on both cables a second. A frame that goes round makes tens of thousands of them.
_STORM = 5000


@pytest.fixture(params=[True, False], ids=["switches-with-stp", "switches-without"])
def lab(machine: Machine, request: pytest.FixtureRequest) -> Iterator[UplinkLab]:
    with UplinkLab(machine, uplinkMode="stp") as made:
        for switch in ("sw1", "sw2", "core") if request.param else ():
            timers = ("forward_delay", "200", "max_age", "600", "hello_time", "100")
            made.world.run("ip", "link", "set", switch, "type", "bridge", *timers, "stp_state", "1")
        # The switches learn for four seconds.
        wait_for(lambda: made.world.run("bridge", "link").count("state forwarding") >= 5)
        yield made


@contextmanager
def no_storm(lab: UplinkLab) -> Iterator[None]:
    """See that no frame goes round while somebody asks for who is not there, to which switches send it on."""
    ask = "ip neigh flush all; ping -q -c1 -W1 10.7.0.99"
    begin, before = time.monotonic(), _count(lab)
    lab.gateway.run("sh", "-c", f"{ask}; true")
    yield
    lab.gateway.run("sh", "-c", f"{ask}; true")
    assert _count(lab) - before < _STORM * (time.monotonic() - begin)


def _count(lab: UplinkLab) -> int:
    links = json.loads(lab.host.run("ip", "-j", "-s", "link"))
    return sum(link["stats64"]["rx"]["packets"] for link in links if link["ifname"] in CABLES)


def has_tree(lab: UplinkLab) -> bool:
    return "stp_state 1" in lab.host.run("ip", "-d", "link", "show", BRIDGE)


def is_safe(lab: UplinkLab) -> bool:
    """Return whether there cannot be a loop, whatever the switches do."""
    # The ports once more: they may have left between the two looks, and STP after them.
    return len(lab.list_ports()) < 2 or has_tree(lab) or len(lab.list_ports()) < 2


def test_all_are_ports(lab: UplinkLab) -> None:
    with no_storm(lab):
        lab.machine.add(lab.config)
        assert lab.list_ports() == list(CABLES)
        shown = lab.host.run("ip", "-d", "link", "show", BRIDGE)
        for stated in ("forward_delay 200", "hello_time 100", "max_age 600", "priority 61440", "stp_state 1"):
            assert stated in shown
        with lab.stream():
            pass  # they arrive
    lab.machine.check(lab.config)


def test_lost_carrier_heals(lab: UplinkLab) -> None:
    """Without a watcher, within the times of STP; also the return."""
    lab.machine.add(lab.config)
    with no_storm(lab), lab.stream() as stream:
        for cable in CABLES:
            begin = time.monotonic()
            lab.cut(cable)
            time.sleep(AGED)
            stream.wait_for_arrivals()
            gap = stream.measure_gap(begin)
            begin = time.monotonic()
            lab.mend(cable)
            time.sleep(AGED)
            stream.wait_for_arrivals()
            back = stream.measure_gap(begin)
            print(f"{cable}: lost {gap:.1f} s, back {back:.1f} s")
            assert gap < AGED
            assert back < AGED


def test_watcher_shows_and_does_not_switch(lab: UplinkLab) -> None:
    """What forwards is active; the watcher leaves the ports to STP."""
    lab.machine.add(lab.config)
    with lab.watch() as watched:
        # With switches that have STP, it is up to their addresses which port blocks.
        wait_for(lambda: "active" in lab.read_states(watched).values())
        lab.cut("eth1")
        wait_for(lambda: lab.read_states(watched)["eth1"] == "dead")
        wait_for(lambda: lab.read_states(watched)["eth2"] == "active")
        assert lab.list_ports() == list(CABLES)
        assert "uplinks: eth1 dead" in lab.shibafu("network inspect net")


def test_mode_of_a_living_network_changes(lab: UplinkLab) -> None:
    """There and back, by ADD and by repair; never are there two ports without STP."""
    backup = lab.config | {"uplinkMode": "active-backup"}
    with no_storm(lab):
        lab.machine.add(backup)
        lab.machine.add(lab.config, "c2")
        assert lab.list_ports() == list(CABLES)
        assert has_tree(lab)
        said = "STP is on for the uplinks of bridge br0, and uplinkMode is not stp"
        assert lab.machine.call("CHECK", backup, "c1").json["msg"] == said
        make_command(lab.machine.suite, lab.machine, backup)("network repair net")
        assert len(lab.list_ports()) == 1
        assert not has_tree(lab)
        lab.machine.check(backup)
        with lab.stream():
            pass  # they arrive at once: a port needs no time
        assert lab.machine.call("CHECK", lab.config).json["msg"].startswith("STP is off on bridge br0")
        make_command(lab.machine.suite, lab.machine, lab.config)("network repair net")
        assert lab.list_ports() == list(CABLES)
        lab.machine.check(lab.config)


def test_killed_between_any_two_steps(lab: UplinkLab) -> None:
    """Whenever ADD is killed while it changes the mode, there is no loop, and the next one goes on."""
    lab.machine.add(lab.config | {"uplinkMode": "active-backup"})
    with no_storm(lab):
        for step in range(40):
            mode = ("stp", "active-backup")[step % 2]
            call = lab.machine.start("ADD", lab.config | {"uplinkMode": mode}, f"c{step + 2}")
            deadline = time.monotonic() + 0.03 + 0.004 * step
            while time.monotonic() < deadline:
                assert is_safe(lab)
            call.kill()
            assert is_safe(lab)
        lab.machine.add(lab.config, "last")
        assert lab.list_ports() == list(CABLES)
        lab.machine.check(lab.config, "last")


def test_stp_that_is_turned_off_is_turned_on(lab: UplinkLab) -> None:
    lab.machine.add(lab.config)
    lab.cut("eth2")
    lab.host.run("ip", "link", "set", BRIDGE, "type", "bridge", "stp_state", "0")
    assert (
        lab.machine.call("CHECK", lab.config).json["msg"]
        == "STP is off on bridge br0, which its uplinks need"
    )
    make_command(lab.machine.suite, lab.machine, lab.config)("network repair net")
    assert has_tree(lab)
    lab.mend("eth2")
    with no_storm(lab):
        time.sleep(1)


def test_failed_add_leaves_no_tree(lab: UplinkLab) -> None:
    """On a bridge that was there before: neither ports nor STP are left."""
    lab.host.run("ip", "link", "add", BRIDGE, "up", "type", "bridge")
    lab.machine.container().run("ip", "link", "add", "eth0", "type", "bridge")
    assert "eth0" in lab.machine.call("ADD", lab.config).json["msg"]
    assert lab.list_ports() == []
    assert not has_tree(lab)


def test_network_goes_with_its_uplinks(lab: UplinkLab) -> None:
    lab.machine.add(lab.config)
    lab.machine.delete(lab.config)
    lab.shibafu("network rm net --force")
    assert BRIDGE not in lab.host.run("ip", "-br", "link")
