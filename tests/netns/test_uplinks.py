"""Redundant uplinks of a bridge: one of them carries everything, another takes over when that one dies."""

import os
import time
from collections.abc import Iterator
from functools import partial
from socket import inet_aton

import pytest

from netns.uplink_lab import BRIDGE, CABLES, GATEWAY, UplinkLab
from netns.watched import Watched, make_command, settle
from shibafu.watch.arp_probe import ArpProbe
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


def test_first_uplink_is_the_only_port(lab: UplinkLab) -> None:
    """Both are up, and frames cannot go round in circles."""
    lab.machine.add(lab.config)
    assert lab.list_ports() == ["eth1"]
    assert "UP" in lab.host.run("ip", "-br", "link", "show", "eth2")
    with lab.stream():
        pass  # they arrive
    lab.machine.check(lab.config)


@pytest.mark.long
def test_only_the_bridge_answers_for_the_host(machine: Machine) -> None:
    """The uplink that waits is on the same segment, and the kernel would answer there for any address."""
    with UplinkLab(machine, isGateway=True, uplinkProbe=GATEWAY) as lab:
        lab.config["ipam"]["ranges"][0][0]["gateway"] = "10.7.0.2"
        machine.add(lab.config)
        bridge = machine.links()[BRIDGE]["address"]
        mac = bytes.fromhex(machine.links(lab.gateway)["eth0"]["address"].replace(":", ""))
        with lab.gateway.enter():
            probe = ArpProbe("eth0", mac, inet_aton("10.7.0.2"))
        probe.ask()
        settle()
        assert {answer.hex(":") for answer in probe.take_senders()} == {bridge}
        probe.close()


@pytest.mark.long
def test_uplink_with_a_carrier_is_preferred(lab: UplinkLab) -> None:
    lab.cut("eth1")
    lab.machine.add(lab.config)
    assert lab.list_ports() == ["eth2"]


@pytest.mark.long
@pytest.mark.parametrize("way", ["add", "repair"])
def test_dead_uplink_is_left_without_a_watcher(lab: UplinkLab, way: str) -> None:
    """By the next ADD, or a repair; CHECK tells that it has to be."""
    lab.machine.add(lab.config)
    lab.cut("eth1")
    said = "uplink eth1 is active and has no carrier, which eth2 has"
    assert lab.machine.call("CHECK", lab.config).json["msg"] == said
    if way == "add":
        lab.machine.add(lab.config, "c2")
    else:
        lab.shibafu("network repair net")
    assert lab.list_ports() == ["eth2"]
    lab.machine.check(lab.config)


@pytest.mark.long
def test_no_carrier_at_all_is_told(lab: UplinkLab) -> None:
    """A dead backup is no fault; with the last carrier, containers are cut off."""
    lab.machine.add(lab.config)
    lab.cut("eth2")
    lab.machine.check(lab.config)
    lab.cut("eth1")
    said = "no uplink of bridge br0 has a carrier"
    assert lab.machine.call("CHECK", lab.config).json["msg"] == said
    assert said in str(lab.shibafu.json("network repair -n", status=1))
    with lab.watch() as watched:
        watched.wait_for(said)
    # Containers of the same host reach each other nevertheless.
    lab.machine.add(lab.config, "c2")


@pytest.mark.long
def test_active_uplink_stays_active(lab: UplinkLab) -> None:
    """Also when another container comes, and the preferred uplink works."""
    lab.machine.add(lab.config)
    lab.host.run("ip", "link", "set", "eth1", "nomaster")
    lab.host.run("ip", "link", "set", "eth2", "master", BRIDGE)
    lab.machine.add(lab.config, "c2")
    assert lab.list_ports() == ["eth2"]
    lab.machine.check(lab.config)


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("ip link set eth1 nomaster", "no uplink is a port of bridge br0"),
        ("ip link set eth2 down", "uplink eth2 is down"),
        ("ip link set eth2 master br0", "eth1 and eth2 are ports of bridge br0 at the same time"),
        ("sysctl -qw net.ipv6.conf.eth2.accept_ra=2", "uplink eth2 accepts router advertisements"),
    ],
)
def test_faults_are_seen_and_repaired(lab: UplinkLab, command: str, said: str) -> None:
    lab.machine.add(lab.config)
    # With no switches behind: two ports at once are a loop.
    lab.cut("eth2")
    lab.host.run(*command.split())
    assert lab.machine.call("CHECK", lab.config).json["msg"] == said
    assert lab.machine.add(lab.config, "c2")
    assert lab.list_ports() == ["eth1"]
    lab.machine.check(lab.config)


@pytest.mark.parametrize("way", ["add", pytest.param("repair", marks=pytest.mark.long), "watch"])
def test_former_uplink_leaves(lab: UplinkLab, way: str) -> None:
    """What was active leaves when it is no longer an uplink, before another enters: there is no loop."""
    lab.cut("eth1")
    lab.machine.add(lab.config)
    assert lab.list_ports() == ["eth2"]
    lab.mend("eth1")
    changed = lab.config | {"uplinks": ["eth1"]}
    shibafu = make_command(lab.machine.suite, lab.machine, changed)
    said = "eth2 is a port of bridge br0, and no longer one of its uplinks"
    if way == "add":
        assert lab.machine.call("CHECK", changed).json["msg"] == said
        lab.machine.add(changed, "c2")
    elif way == "repair":
        shibafu("network repair net")
    else:
        with lab.watch():
            wait_for(lambda: lab.list_ports() == ["eth1"])
    assert lab.list_ports() == ["eth1"]


@pytest.mark.long
def test_network_goes_with_its_former_uplink(lab: UplinkLab) -> None:
    """Also when it no longer has any: that port was not put there by others."""
    lab.machine.add(lab.config)
    lab.machine.delete(lab.config)
    del lab.config["uplinks"]
    make_command(lab.machine.suite, lab.machine, lab.config)
    lab.shibafu("network rm net")
    assert BRIDGE not in lab.host.run("ip", "-br", "link")


@pytest.mark.long
def test_port_of_others_stays(lab: UplinkLab) -> None:
    """A link that was never an uplink is its owner's."""
    lab.machine.add(lab.config | {"uplinks": ["eth1"]})
    lab.cut("eth2")
    lab.host.run("ip", "link", "set", "eth2", "up", "master", BRIDGE)
    lab.machine.add(lab.config | {"uplinks": ["eth1"]}, "c2")
    assert lab.list_ports() == ["eth1", "eth2"]


def test_uplink_that_cannot_be_a_port(lab: UplinkLab) -> None:
    """The watcher puts the former one back; ADD takes another one."""
    lab.host.run("ip", "link", "add", "above", "link", "eth2", "type", "macvlan")
    lab.machine.add(lab.config)
    with lab.watch() as watched:
        lab.wait_until_probed(watched)
        lab.cut("eth1")
        watched.wait_for("cannot switch to uplink eth2")
        settle()
        assert lab.list_ports() == ["eth1"]
        lab.mend("eth1")
        with lab.stream():
            pass  # they arrive
    lab.cut("eth1")
    lab.host.run("ip", "link", "set", "eth1", "nomaster")
    lab.machine.add(lab.config, "c2")
    assert lab.list_ports() == ["eth1"]


def test_link_with_an_address_is_refused(lab: UplinkLab) -> None:
    """The address would die with it; what ADD had begun is undone."""
    lab.host.run("ip", "addr", "add", "192.0.2.5/24", "dev", "eth2")
    answer = lab.machine.call("ADD", lab.config)
    assert answer.json["msg"] == "uplink eth2 has the address 192.0.2.5/24"
    assert BRIDGE not in lab.host.run("ip", "-br", "link")


@pytest.mark.long
def test_link_of_another_bridge_is_refused(lab: UplinkLab) -> None:
    lab.host.run("ip", "link", "add", "other", "type", "bridge")
    lab.host.run("ip", "link", "set", "eth1", "master", "other")
    answer = lab.machine.call("ADD", lab.config)
    assert answer.json["msg"] == "uplink eth1 belongs to other"


@pytest.mark.long
def test_uplink_of_another_network_is_refused(lab: UplinkLab) -> None:
    """Also one that waits, which belongs to no bridge: by ADD, STATUS and the command."""
    lab.machine.add(lab.config)
    other = lab.config | {"name": "other", "bridge": "br1", "uplinks": ["eth2"]}
    said = 'uplink eth2 is one of bridge br0, of network "net"'
    for command in ("ADD", "STATUS"):
        assert lab.machine.call(command, other, "c2").json["msg"] == said
    assert lab.list_ports() == ["eth1"]
    assert "br1" not in lab.host.run("ip", "-br", "link")
    said = "uplink eth2 is one of bridge br0, of network net"
    assert said in lab.shibafu.fail("network create lan --subnet 10.8.0.0/24 --uplink eth2")
    declared = "networks: {lan: {subnets: [10.8.0.0/24], driver-opts: {uplinks: [eth2]}}}"
    assert said in lab.shibafu.fail("network apply -f -", stdin=declared)
    lab.machine.delete(lab.config)
    lab.shibafu("network rm net")
    assert lab.machine.add(other, "c2")


@pytest.mark.long
def test_missing_uplink_is_named(lab: UplinkLab) -> None:
    """Containers come nevertheless, as long as there is one uplink."""
    lab.host.run("ip", "link", "del", "eth1")
    lab.machine.add(lab.config)
    assert lab.list_ports() == ["eth2"]
    assert lab.machine.call("CHECK", lab.config).json["msg"] == "uplink eth1 is missing"
    lab.host.run("ip", "link", "del", "eth2")
    msg = "bridge br0 has no uplink: there is no link eth1, eth2"
    assert lab.machine.call("ADD", lab.config, "c2").json["msg"] == msg


@pytest.mark.long
def test_networks_on_one_bridge_agree(lab: UplinkLab) -> None:
    lab.machine.add(lab.config)
    other = lab.config | {"name": "other", "uplinks": ["eth2"]}
    msg = lab.machine.call("ADD", other, "c2").json["msg"]
    assert msg == 'network "net" gives bridge br0 other uplinks: eth1, eth2'
    assert lab.list_ports() == ["eth1"]


@pytest.mark.long
def test_networks_on_one_bridge_agree_on_the_watch(lab: UplinkLab) -> None:
    lab.machine.add(lab.config)
    other = lab.config | {"name": "other", "primaryReselect": "always"}
    msg = lab.machine.call("ADD", other, "c2").json["msg"]
    assert msg == 'network "net" has the uplinks of bridge br0 watched in another way'
    lab.machine.add(lab.config | {"name": "other"}, "c3")


@pytest.mark.long
def test_failed_add_leaves_another_link_down(lab: UplinkLab) -> None:
    """Also where the bridge had an uplink before."""
    lab.machine.add(lab.config | {"uplinks": ["eth1"]})
    unreachable = {"dst": "198.51.100.0/24", "gw": "192.0.2.1"}
    ipam = lab.config["ipam"] | {"routes": [unreachable]}
    assert "192.0.2.1" in lab.machine.call("ADD", lab.config | {"ipam": ipam}, "c2").json["msg"]
    assert lab.list_ports() == ["eth1"]
    assert "UP" not in lab.host.run("ip", "-br", "link", "show", "eth2")


@pytest.mark.long
def test_failed_add_leaves_the_links_as_they_were(lab: UplinkLab) -> None:
    lab.machine.container().run("ip", "link", "add", "eth0", "type", "bridge")
    assert "eth0" in lab.machine.call("ADD", lab.config).json["msg"]
    assert BRIDGE not in lab.host.run("ip", "-br", "link")
    assert all("UP" not in lab.host.run("ip", "-br", "link", "show", cable) for cable in CABLES)


@pytest.mark.long
def test_last_container_leaves_bridge_and_uplink(lab: UplinkLab) -> None:
    """Like the bridge, they are there for the next container."""
    lab.machine.add(lab.config)
    lab.machine.delete(lab.config)
    assert lab.list_ports() == ["eth1"]
    lab.shibafu("network rm net --force")
    assert BRIDGE not in lab.host.run("ip", "-br", "link")
    assert lab.host.run("ip", "-br", "link", "show", "eth1")


def test_lost_carrier(lab: UplinkLab) -> None:
    """The backup takes over; the cable's return costs nothing, and changes nothing."""
    lab.machine.add(lab.config)
    with lab.watch() as watched, lab.stream() as stream:
        lab.wait_until_probed(watched)
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
def test_other_configuration_changes_nothing(lab: UplinkLab) -> None:
    """Switches are counted on when another network's file comes."""
    lab.machine.add(lab.config)
    with lab.watch() as watched:
        lab.wait_until_probed(watched)
        lab.cut("eth1")
        watched.wait_for("uplink eth2 is active now")
        lab.shibafu("network create other --subnet 10.8.0.0/24")
        lab.machine.add(lab.config, "c2")
        settle()
        assert watched.read_status()["uplinks"][0]["switches"] == 1
        assert sum("uplink eth1 has no carrier" in line for line in watched.lines) == 1


def test_silent_death(lab: UplinkLab) -> None:
    """The cable has a carrier, and the gateway no longer answers through it."""
    lab.machine.add(lab.config)
    with lab.watch() as watched, lab.stream() as stream:
        lab.wait_until_probed(watched)
        begin = time.monotonic()
        lab.cut_silently("eth1")
        watched.wait_for(f"uplink eth2 is active now, since {GATEWAY} does not answer through eth1")
        stream.wait_for_arrivals()
        assert stream.measure_gap(begin) < SILENT_BOUND
        lab.mend_silently("eth1")
        settle()
        assert lab.list_ports() == ["eth2"]


@pytest.mark.long
def test_dead_gateway_is_not_the_uplinks_fault(lab: UplinkLab) -> None:
    lab.machine.add(lab.config)
    with lab.watch() as watched:
        lab.wait_until_probed(watched)
        lab.gateway.run("ip", "link", "set", "eth0", "down")
        watched.wait_for(f"{GATEWAY} does not answer through any uplink")
        time.sleep(1)
        lab.gateway.run("ip", "link", "set", "eth0", "up")
        watched.wait_for(f"{GATEWAY} answers again through eth1")
        assert not any("is active now" in line for line in watched.lines)
        assert lab.list_ports() == ["eth1"]


@pytest.mark.long
def test_both_dead_and_back(lab: UplinkLab) -> None:
    lab.machine.add(lab.config)
    with lab.watch() as watched:
        lab.wait_until_probed(watched)
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


def test_watcher_that_died_in_a_switch(lab: UplinkLab) -> None:
    """Killed after the active uplink has left, before another is a port: the next one goes on."""
    lab.machine.add(lab.config)
    with lab.watch() as watched:
        lab.wait_until_probed(watched)
        watched.kill()
    lab.cut("eth1")
    lab.host.run("ip", "link", "set", "eth1", "nomaster")
    with lab.watch() as watched:
        wait_for(lambda: lab.list_ports() == ["eth2"])
        with lab.stream():
            pass  # they arrive
    # What is active survives its end.
    lab.mend("eth1")
    with lab.watch() as watched:
        lab.wait_until_probed(watched)
        assert lab.read_states(watched) == {"eth1": "backup", "eth2": "active"}


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
def test_paused_network_is_left_alone(lab: UplinkLab) -> None:
    lab.machine.add(lab.config)
    with lab.watch() as watched:
        lab.wait_until_probed(watched)
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
