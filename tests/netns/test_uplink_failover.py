"""Redundant uplinks of a bridge: another one takes over when the active one dies."""

import os
import time
from collections.abc import Iterator
from functools import partial

import pytest

from netns.uplink_lab import BRIDGE, CABLES, GATEWAY, UplinkLab
from netns.watched import Watched, make_command, settle
from support.machine import RECORDS, Machine
from support.namespaces import Namespace
from support.waiting import wait_for

# Seconds. It takes some 20 and 330 ms, but machines that run tests are busy; the kernel alone would take
# a second until it announces that a carrier is gone.
CARRIER_BOUND = 0.5
SILENT_BOUND = 1.0


@pytest.fixture
def lab(machine: Machine) -> Iterator[UplinkLab]:
    with UplinkLab(machine) as made:
        yield made


@pytest.fixture
def watched(lab: UplinkLab) -> Iterator[Watched]:
    """The watcher, which has asked through the uplinks; there is a container."""
    lab.machine.add(lab.config)
    with lab.watch() as watched:
        lab.wait_until_probed(watched)
        yield watched


def test_lost_carrier(lab: UplinkLab, watched: Watched) -> None:
    """The backup takes over; the cable's return costs nothing, and changes nothing."""
    with lab.stream() as stream:
        assert lab.read_states(watched) == {"eth1": "active", "eth2": "backup"}
        begin = time.monotonic()
        lab.cut("eth1")
        watched.wait_for("uplink eth2 is active now, since eth1 has no carrier")
        stream.wait_for_arrivals()
        assert stream.measure_gap(begin) < CARRIER_BOUND
        assert lab.list_ports() == ["eth2"]
        wait_for(lambda: lab.read_states(watched) == {"eth1": "dead", "eth2": "active"})
        begin = time.monotonic()
        lab.mend("eth1")
        watched.wait_for("uplink eth1 has a carrier again")
        settle()
        stream.wait_for_arrivals()
        assert stream.measure_gap(begin) < CARRIER_BOUND
        assert lab.list_ports() == ["eth2"]
    lab.machine.check(lab.config)


@pytest.mark.parametrize(
    "taken", ["ip link set spare master other", "ip link add above link spare type macvlan"]
)
def test_next_uplink_where_one_is_taken(lab: UplinkLab, taken: str) -> None:
    lab.host.run("ip", "link", "add", "other", "type", "bridge")
    lab.host.run("ip", "link", "add", "spare", "type", "veth", "peer", "end")
    lab.host.run("ip", "link", "set", "end", "up")
    lab.config["uplinks"] = ["eth1", "spare", "eth2"]
    make_command(lab.machine.suite, lab.machine, lab.config)
    lab.machine.add(lab.config)
    lab.host.run(*taken.split())
    with lab.watch() as watched:
        lab.wait_until_probed(watched)
        lab.cut("eth1")
        watched.wait_for("uplink eth2 is active now, since eth1 has no carrier")
        assert lab.list_ports() == ["eth2"]


@pytest.mark.long
def test_records_that_cannot_be_trusted(lab: UplinkLab) -> None:
    """The watcher goes on, and switches once they can be."""
    lab.machine.add(lab.config)
    records = RECORDS / str(os.stat(lab.host.path).st_ino) / "net"
    with lab.watch() as watched:
        lab.wait_until_probed(watched)
        os.chown(records, 65534, -1)
        try:
            lab.cut("eth1")
            watched.wait_for("cannot look at the uplinks of bridge br0")
        finally:
            os.chown(records, 0, -1)
        wait_for(lambda: lab.list_ports() == ["eth2"])


@pytest.mark.long
def test_record_with_a_gateway_that_is_none(lab: UplinkLab) -> None:
    """It is not asked for; a lost carrier counts nevertheless."""
    lab.machine.add(lab.config)
    (record,) = (RECORDS / str(os.stat(lab.host.path).st_ino) / "net").glob("veth*")
    record.write_text(record.read_text().replace(f'"gateway": "{GATEWAY}"', '"gateway": "10.7.0.x"'))
    assert "10.7.0.x" in record.read_text()
    with lab.watch() as watched:
        lab.wait_until_probed(watched)
        lab.cut("eth1")
        watched.wait_for("uplink eth2 is active now, since eth1 has no carrier")


@pytest.mark.long
def test_nothing_is_switched_without_a_bridge(lab: UplinkLab) -> None:
    lab.machine.add(lab.config)
    lab.host.run("ip", "link", "del", BRIDGE)
    with Watched(lab.shibafu, "--dry-run") as watched:
        settle()
        settle()
        assert not any("would switch" in line for line in watched.lines)


@pytest.mark.long
def test_other_configuration_changes_nothing(lab: UplinkLab, watched: Watched) -> None:
    """Switches are counted on when another network's file comes."""
    lab.cut("eth1")
    watched.wait_for("uplink eth2 is active now")
    lab.shibafu("network create other --subnet 10.8.0.0/24")
    lab.machine.add(lab.config, "c2")
    settle()
    assert watched.read_status()["uplinks"][0]["switches"] == 1
    assert sum("uplink eth1 has no carrier" in line for line in watched.lines) == 1


def test_silent_death(lab: UplinkLab, watched: Watched) -> None:
    """The cable has a carrier, and the gateway no longer answers through it."""
    with lab.stream() as stream:
        begin = time.monotonic()
        lab.cut_silently("eth1")
        watched.wait_for(f"uplink eth2 is active now, since {GATEWAY} does not answer through eth1")
        stream.wait_for_arrivals()
        assert stream.measure_gap(begin) < SILENT_BOUND
        lab.mend_silently("eth1")
        settle()
        assert lab.list_ports() == ["eth2"]


@pytest.mark.long
def test_dead_gateway_is_not_the_uplinks_fault(lab: UplinkLab, watched: Watched) -> None:
    lab.gateway.run("ip", "link", "set", "eth0", "down")
    watched.wait_for(f"{GATEWAY} does not answer through any uplink")
    time.sleep(1)
    lab.gateway.run("ip", "link", "set", "eth0", "up")
    watched.wait_for(f"{GATEWAY} answers again through eth1")
    assert not any("is active now" in line for line in watched.lines)
    assert lab.list_ports() == ["eth1"]


@pytest.mark.long
def test_both_dead_and_back(lab: UplinkLab, watched: Watched) -> None:
    lab.cut("eth2")
    watched.wait_for("uplink eth2 has no carrier")
    lab.cut("eth1")
    watched.wait_for("uplink eth1 has no carrier")
    assert lab.read_states(watched) == {"eth1": "dead", "eth2": "dead"}
    lab.mend("eth2")
    watched.wait_for("uplink eth2 is active now")
    with lab.stream():
        pass  # they arrive
    assert lab.list_ports() == ["eth2"]


def test_watcher_that_died_in_a_switch(lab: UplinkLab, watched: Watched) -> None:
    """Killed after the active uplink has left, before another is a port: the next one goes on."""
    watched.kill()
    lab.cut("eth1")
    lab.host.run("ip", "link", "set", "eth1", "nomaster")
    with lab.watch():
        wait_for(lambda: lab.list_ports() == ["eth2"])
        with lab.stream():
            pass  # they arrive
    # What is active survives its end.
    lab.mend("eth1")
    with lab.watch() as again:
        lab.wait_until_probed(again)
        assert lab.read_states(again) == {"eth1": "backup", "eth2": "active"}


@pytest.mark.long
def test_switches_learn_where_others_are(lab: UplinkLab) -> None:
    """Who has spoken before the switch is reached after it, though it says nothing."""
    lab.machine.add(lab.config)
    mac = lab.machine.result(lab.config)["interfaces"][-1]["mac"]
    with lab.stream(), lab.watch() as watched:
        lab.wait_until_probed(watched)
    with lab.watch() as watched:
        lab.wait_until_probed(watched)
        lab.cut_silently("eth1")
        watched.wait_for("uplink eth2 is active now")
        wait_for(lambda: _finds(lab.world, mac, "eth2"))


@pytest.mark.long
def test_switches_learn_of_what_others_have_switched(lab: UplinkLab) -> None:
    """Such as a repair, or a watcher that died before it could tell them."""
    lab.machine.add(lab.config)
    mac = lab.machine.result(lab.config)["interfaces"][-1]["mac"]
    with lab.stream():
        pass  # the container is known behind eth1
    lab.host.run("ip", "link", "set", "eth1", "nomaster")
    lab.host.run("ip", "link", "set", "eth2", "master", BRIDGE)
    with lab.watch():
        wait_for(lambda: _finds(lab.world, mac, "eth2"))


def _finds(world: Namespace, mac: str, port: str) -> bool:
    """Return whether a switch knows a MAC to be behind one of its ports."""
    return any(
        line.startswith(f"{mac} dev {port} ") for line in world.run("bridge", "fdb", "show").splitlines()
    )


@pytest.mark.long
def test_paused_network_is_left_alone(lab: UplinkLab, watched: Watched) -> None:
    lab.shibafu("network pause net")
    lab.cut("eth1")
    watched.wait_for("uplink eth1 has no carrier")
    settle()
    assert lab.list_ports() == ["eth1"]


def _is_only_port(lab: UplinkLab, cable: str) -> bool:
    return lab.list_ports() == [cable]


@pytest.mark.long
def test_preferred_uplink_takes_over_again(machine: Machine) -> None:
    """Where that is wanted, and not before it has worked for 30 seconds."""
    with UplinkLab(machine, primaryReselect="always") as lab:
        lab.machine.add(lab.config)
        with lab.watch() as watched, lab.stream() as stream:
            lab.wait_until_probed(watched)
            lab.cut("eth1")
            watched.wait_for("uplink eth2 is active now")
            lab.mend("eth1")
            begin = time.monotonic()
            watched.wait_for("uplink eth1 is active now, since it is preferred")
            assert time.monotonic() - begin > 29
            stream.wait_for_arrivals()
            assert stream.measure_gap(begin) < CARRIER_BOUND
            assert lab.list_ports() == ["eth1"]


@pytest.mark.long
def test_silent_preferred_uplink_is_not_flooded(machine: Machine) -> None:
    """It is asked through ten times a second, like the active one, until there is an answer."""
    with UplinkLab(machine, primaryReselect="always") as lab:
        lab.machine.add(lab.config)
        with lab.watch() as watched:
            lab.wait_until_probed(watched)
            lab.cut_silently("eth1")
            watched.wait_for("uplink eth2 is active now")
            time.sleep(32)
            before = _count_sent(lab, "eth1")
            time.sleep(2)
            assert 5 < _count_sent(lab, "eth1") - before < 30
            lab.mend_silently("eth1")
            watched.wait_for("uplink eth1 is active now, since it is preferred")


def _count_sent(lab: UplinkLab, cable: str) -> int:
    return int(lab.host.read_link(cable, "statistics/tx_packets"))


@pytest.mark.long
def test_killed_again_and_again(lab: UplinkLab) -> None:
    """Whenever the watcher is killed while cables fail, there is never more than one port."""
    lab.machine.add(lab.config)
    for round_ in range(20):
        dying, other = ("eth1", "eth2") if lab.list_ports() != ["eth2"] else ("eth2", "eth1")
        with lab.watch() as watched:
            lab.wait_until_probed(watched)
            lab.cut(dying)
            time.sleep(round_ * 0.004)
            watched.kill()
        assert len(lab.list_ports()) <= 1
        with lab.watch() as watched:
            wait_for(partial(_is_only_port, lab, other))
        lab.mend(dying)


@pytest.mark.long
@pytest.mark.parametrize(("is_silent", "median"), [(False, 0.05), (True, 0.6)])
def test_failovers_cost_little(lab: UplinkLab, is_silent: bool, median: float) -> None:
    """Twenty in a row, of which half have to be as fast as on a machine that is not busy."""
    cut, mend = (lab.cut_silently, lab.mend_silently) if is_silent else (lab.cut, lab.mend)
    lab.machine.add(lab.config)
    gaps = []
    with lab.watch() as watched, lab.stream() as stream:
        lab.wait_until_probed(watched)
        for round_ in range(20):
            dying, other = CABLES if round_ % 2 == 0 else reversed(CABLES)
            begin = time.monotonic()
            cut(dying)
            wait_for(partial(_is_only_port, lab, other))
            stream.wait_for_arrivals()
            gaps.append(stream.measure_gap(begin))
            mend(dying)
            time.sleep(1.2)
    gaps.sort()
    print(f"gaps in ms: {[round(gap * 1000) for gap in gaps]}")
    assert gaps[len(gaps) // 2] < median


@pytest.mark.long
def test_network_of_the_command(lab: UplinkLab) -> None:
    """`network inspect` draws the uplinks while the watcher runs, and `rm` releases them."""
    container = lab.machine.container()
    (lab.shibafu.conf_dir / "net.conflist").unlink()
    lab.shibafu(
        "network create lan --subnet 10.7.0.0/24 --gateway 10.7.0.2 --uplink eth1 --uplink eth2 "
        f"--driver-opt uplinkProbe={GATEWAY}"
    )
    lab.shibafu(f"network connect lan {container.name}")
    with lab.watch() as watched:
        lab.wait_until_probed(watched)
        assert "uplinks: eth1 active, eth2 backup" in lab.shibafu("network inspect lan")
        assert "uplinks of bridge br-lan: eth1 active, eth2 backup" in lab.shibafu("watch status")
        lab.cut_silently("eth1")
        watched.wait_for(f"uplink eth2 is active now, since {GATEWAY} does not answer through eth1")
    lab.shibafu(f"network disconnect lan {container.name}")
    lab.shibafu("network rm lan")
    assert "br-lan" not in lab.host.run("ip", "-br", "link")
    assert "master" not in lab.host.run("ip", "link", "show", "eth2")
