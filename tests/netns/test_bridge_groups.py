"""The interface groups by which isolated networks know each other's links: who sets them, who keeps them."""

import shutil
from socket import SOCK_STREAM

import pytest

from netns.isolated import BLUE, GREEN, GROUP, OLD, OPEN_GROUP, PLAIN, Networks, are_apart, group
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.resources.fabric import Bridge, Gateway
from shibafu.cni.names import ISOLATED, NETWORK_GROUPS, OPEN, STRICT, calc_digest
from shibafu.netlink.link import link_by_name
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.view import View
from support.calls import make_request
from support.machine import Config, Machine
from support.namespaces import Namespace
from support.traffic import OUTSIDE, UPLINK, Outside, ask_source


@pytest.fixture
def networks(machine: Machine) -> Networks:
    # A bridge asks for others' IPv6 neighbours as soon as its own address is known to be nobody else's.
    machine.host.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
    return Networks(machine, "iptables")


def test_the_group_is_missed_and_set_again(networks: Networks) -> None:
    networks.attach()
    machine = networks.machine
    assert [group(machine, f"br{number}") for number in (10, 20, 30)] == [GROUP, GROUP, OPEN_GROUP]
    machine.host.run("ip", "link", "set", "br10", "group", "7")
    error = machine.fail(networks.blue, "c1", command="CHECK")
    assert (error["code"], error["msg"]) == (104, "link br10 is not in the group of isolated networks")
    machine.add(networks.blue, "c4")
    machine.check(networks.blue, "c1")
    assert group(machine, "br10") == GROUP


def test_a_group_of_somebody_elses_is_kept(networks: Networks) -> None:
    machine = networks.machine
    machine.host.run("ip", "link", "add", "br30", "group", "7", "type", "bridge")
    machine.add(networks.plain)
    assert group(machine, "br30") == "7"


def fail_late(config: Config) -> Config:
    """Return a configuration whose ADD fails inside the container, when all of the host's is there."""
    unreachable = {"dst": "192.0.2.0/24", "gw": "198.51.100.1"}
    return config | {"ipam": config["ipam"] | {"routes": [unreachable]}}


@pytest.fixture(params=[False, True], ids=["remembered", "forgotten"])
def is_forgotten(request: pytest.FixtureRequest) -> bool:
    """Whether the records of the network whose bridge is wanted are lost."""
    return bool(request.param)


@pytest.mark.parametrize("isolate", [True, STRICT])
@pytest.mark.parametrize(
    "subnets", ["others", "the same", pytest.param("others of IPv6", marks=pytest.mark.long)]
)
def test_an_open_network_wants_the_bridge_of_an_isolated_one(
    networks: Networks, isolate: bool | str, subnets: str, is_forgotten: bool
) -> None:
    """Its ADD is refused because of the other network or the bridge's addresses, or fails at the end."""
    machine = networks.machine
    networks.blue |= {"isolate": isolate}
    networks.all["c1"] = networks.blue
    blue, green, plain = networks.attach()
    other, addresses = (plain, PLAIN) if isolate == STRICT else (green, GREEN)
    if is_forgotten:
        shutil.rmtree(machine.records / "blue")
    before = group(machine, "br10"), machine.addresses("br10")
    number = 10 if subnets == "the same" else 50
    thief = fail_late(networks.config("thief", number, bridge="br10", forceAddress=not is_forgotten))
    if subnets == "others of IPv6":
        thief["ipam"] |= {"ranges": thief["ipam"]["ranges"][1:]}
    error = machine.fail(thief, "c5")
    if is_forgotten:
        assert ("already has an IP address" if subnets == "others" else "route") in error["msg"]
    else:
        how = "strictly isolated" if isolate == STRICT else "isolated"
        assert error["msg"] == f'network "blue" on bridge "br10" is {how}, and this one is not'
        assert '"isolate"' in error["details"]
    assert (group(machine, "br10"), machine.addresses("br10")) == before
    assert are_apart(blue, other, BLUE, addresses)


def test_a_failed_add_of_an_isolated_network_leaves_an_open_one_s_bridge(
    networks: Networks, is_forgotten: bool
) -> None:
    machine = networks.machine
    _, green, plain = networks.attach()
    if is_forgotten:
        shutil.rmtree(machine.records / "plain")
    machine.fail(fail_late(networks.config("gold", 30, isolate=True)), "c5")
    assert group(machine, "br30") == OPEN_GROUP
    assert not are_apart(green, plain, GREEN, PLAIN)


def test_a_bridge_that_a_strict_network_does_not_know(networks: Networks) -> None:
    """One that an older release made is told by its ports; a group of somebody else's stays, and is named."""
    machine = networks.machine
    networks.all["c1"] = strict = networks.blue | {"isolate": STRICT}
    blue, _, plain = networks.attach()
    for name in ("0", "7"):
        machine.host.run("ip", "link", "set", "br30", "group", name)
        machine.host.run("ip", "link", "add", f"docker{name}", "type", "bridge")
        assert not are_apart(blue, plain, BLUE, PLAIN)
        error = machine.fail(strict, "c1", command="CHECK")
        assert error["msg"] == "bridge br30 of another network is not isolated from this one"
        machine.check(networks.plain, "c3")
        machine.add(strict, "c4")
        assert are_apart(blue, plain, BLUE, PLAIN) == (name == "0")
        assert group(machine, f"docker{name}") == "default"
        machine.delete(strict, "c4")
    assert group(machine, "br30") == "7"
    networks.delete()


def test_the_outside_is_behind_a_bridge_of_an_open_network(networks: Networks, outside: Outside) -> None:
    machine = networks.machine
    run = machine.host.run
    run("ip", "link", "add", "wan", "type", "bridge")
    run("ip", "link", "set", "wan", "up")
    run("ip", "link", "set", "uplink", "master", "wan")
    run("ip", "addr", "flush", "dev", "uplink")
    run("ip", "addr", "add", f"{UPLINK[4]}/24", "dev", "wan")
    machine.add(machine.layer2(name="wan", bridge="wan"), "c5")
    networks.all["c1"] = networks.blue | {"isolate": STRICT}
    blue, *_ = networks.attach()
    machine.check(networks.all["c1"], "c1")
    assert group(machine, "wan") == "default"
    assert ask_source(outside.namespace, OUTSIDE[4], blue, SOCK_STREAM) == UPLINK[4]
    machine.delete(machine.layer2(name="wan", bridge="wan"), "c5")
    networks.delete()


@pytest.mark.parametrize("isolate", [True, STRICT])
def test_the_gateway_of_a_vlan_has_the_group(networks: Networks, isolate: bool | str) -> None:
    machine = networks.machine
    blue = networks.blue | {"bridge": "br0", "vlan": 100, "isolate": isolate}
    answer = machine.call("ADD", blue)
    if answer.status and "CONFIG_BRIDGE_VLAN_FILTERING" in answer.json["details"]:
        pytest.skip("this kernel has no VLAN filtering on bridges")
    machine.delete(blue)
    machine.add(blue)
    machine.add(networks.green | {"bridge": "br0", "vlan": 200, "isolate": isolate}, "c2")
    machine.check(blue)
    own = str(NETWORK_GROUPS[STRICT]) if isolate == STRICT else GROUP
    assert [group(machine, link) for link in ("br0", "br0.100", "br0.200")] == [OPEN_GROUP, own, own]
    assert are_apart(machine.container("c1"), machine.container("c2"))


@pytest.mark.parametrize("before", ["0", GROUP])
@pytest.mark.parametrize("isolate", [STRICT, True, False])
@pytest.mark.parametrize("has_gateway", [True, False])
def test_the_group_goes_with_the_gateway_and_not_with_the_bridge(
    host: Namespace, isolate: bool | str, before: str, has_gateway: bool
) -> None:
    """Of links that are there, so that the kernel need not filter VLANs."""
    host.run("ip", "link", "add", "br0", "type", "bridge")
    host.run("ip", "link", "add", "br0.100", "group", before, "type", "bridge")
    keys = {"bridge": "br0", "vlan": 100, "isGateway": has_gateway, "isolate": isolate}
    config = BridgeConfig(make_request(keys | {"ipam": {"type": "host-local"}}))
    with host.enter(), NetlinkSocket() as sock:
        bridge, view = Bridge(config), View(sock)
        gateway = Gateway(config, bridge, [], [], "veth0", is_adding=True)
        for resource in (bridge, gateway):
            resource.ensure(view)
        view.forget()
        host.run("ip", "link", "add", "veth0123456789a", "master", "br0", "type", "veth")
        assert list(gateway.faults(view)) == []
        groups = [link.group for link in (link_by_name(sock, name) for name in ("br0", "br0.100")) if link]
    wanted = NETWORK_GROUPS[STRICT if isolate == STRICT else ISOLATED if isolate else OPEN]
    # As its own network's gateway goes by another link, the bridge is as others know those of open networks.
    assert groups == [
        NETWORK_GROUPS[OPEN] if isolate == STRICT else 0,
        wanted if has_gateway else int(before),
    ]


def test_the_gateway_in_a_vlan_that_an_older_release_made(networks: Networks) -> None:
    """It has no group; its network's containers are reached by it, here without any VLAN in the kernel."""
    machine = networks.machine
    machine.add(machine.layer2(name="old", bridge="br0"), "c5")
    make_old_gateway(machine.host, machine.container("c5"))
    networks.all = {"c1": networks.blue | {"isolate": STRICT}}
    (blue,) = networks.attach()
    old = machine.container("c5")
    assert group(machine, "br0.100") == OPEN_GROUP
    assert are_apart(blue, old, BLUE, OLD)
    machine.host.run("ip", "link", "set", "br0.100", "group", "0")
    assert not are_apart(blue, old, BLUE, OLD)
    error = machine.fail(networks.all["c1"], "c1", command="CHECK")
    assert error["msg"] == "gateway link br0.100 of another network is not isolated from this one"
    machine.add(networks.all["c1"], "c4")
    machine.check(networks.all["c1"], "c1")
    assert are_apart(blue, old, BLUE, OLD)


def make_old_gateway(host: Namespace, container: Namespace) -> None:
    """Make br0.100 a gateway, with what older releases call its port, and a container's default routes."""
    port = "veth" + calc_digest("vlan", "br0.100", size=6)[:11]
    host.run("ip", "link", "add", port, "up", "master", "br0", "type", "veth", "peer", "br0.100")
    host.run("ip", "link", "set", "br0.100", "up")
    # Without VLANs, the bridge would answer for the gateway as well.
    host.run("sysctl", "-qw", "net.ipv4.conf.br0.arp_ignore=1")
    for version, gateway in ((4, "10.60.0.1"), (6, "fd00:60::1")):
        prefix, nodad = {4: ("24", []), 6: ("64", ["nodad"])}[version]
        host.run("ip", "addr", "add", f"{gateway}/{prefix}", "dev", "br0.100", *nodad)
        container.run("ip", "addr", "add", f"{OLD[version]}/{prefix}", "dev", "eth0", *nodad)
        container.run("ip", f"-{version}", "route", "add", "default", "via", gateway)
