"""Redundant uplinks of a bridge: what ADD makes of them, and what CHECK and `repair` find wrong with them."""

from collections.abc import Iterator
from socket import inet_aton

import pytest

from netns.uplink_lab import BRIDGE, CABLES, GATEWAY, UplinkLab
from netns.watched import make_command, settle
from shibafu.watch.arp_probe import ArpProbe
from support.machine import Machine
from support.waiting import wait_for


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
    said = "uplink eth1 is active without a carrier, although eth2 has one"
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


def test_late_address_is_told(lab: UplinkLab) -> None:
    """Such as from a DHCP client that was started on the uplink: its route may precede the bridge's."""
    lab.machine.add(lab.config)
    lab.host.run("ip", "addr", "add", "10.7.0.5/24", "dev", "eth1")
    assert lab.machine.call("CHECK", lab.config).json["msg"] == "uplink eth1 has the address 10.7.0.5/24"


def test_alternative_name_is_refused(lab: UplinkLab) -> None:
    """It could be a second name of an uplink; the watcher goes on where one is added afterwards."""
    make_command(lab.machine.suite, lab.machine, lab.config)
    lab.machine.add(lab.config)
    for name in ("eth1", "eth2"):
        lab.host.run("ip", "link", "property", "add", "dev", name, "altname", f"{name}s0")
    said = "uplink eth2s0 is an alternative name of link eth2"
    for command in ("ADD", "STATUS"):
        other = lab.config | {"uplinks": ["eth1", "eth2s0"]}
        assert lab.machine.call(command, other, "c2").json["msg"] == said
    lab.machine.check(lab.config)
    lab.shibafu("network check net")
    with lab.watch() as watched:
        for name in ("eth1", "eth2"):
            lab.host.run("ip", "link", "set", name, "down", "name", f"{name}x")
            lab.host.run("ip", "link", "property", "add", "dev", f"{name}x", "altname", name)
        watched.wait_for("uplink eth2 is an alternative name of link eth2x")


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
    said = 'uplink eth2 belongs to bridge br0 of network "net"'
    for command in ("ADD", "STATUS"):
        assert lab.machine.call(command, other, "c2").json["msg"] == said
    assert lab.list_ports() == ["eth1"]
    assert "br1" not in lab.host.run("ip", "-br", "link")
    said = "uplink eth2 belongs to bridge br0 of network net"
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
    assert msg == 'network "net" watches the uplinks of bridge br0 in another way'
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
