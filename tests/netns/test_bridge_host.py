"""The bridge: its hardware address never changes, and what others made of it is respected."""

import time
from json import dumps

import pytest

from support.machine import Machine
from support.traffic import OUTSIDE, Outside, can_reach


def bridge_mac(machine: Machine) -> str:
    return str(machine.links()["br0"]["address"])


@pytest.mark.parametrize("existing", [None, "down", "up", "up with a port"])
@pytest.mark.parametrize("gateway", [True, False])
def test_its_hardware_address_never_changes(machine: Machine, existing: str | None, gateway: bool) -> None:
    """Neighbours would lose their gateway for as long as their caches live."""
    host = machine.host
    if existing is not None:
        host.run("ip", "link", "add", "br0", "type", "bridge")
        if existing.startswith("up"):
            host.run("ip", "link", "set", "br0", "up")
        if existing.endswith("port"):
            host.run("ip", "link", "add", "other", "address", "02:00:00:00:00:07", "type", "veth")
            host.run("ip", "link", "set", "other", "master", "br0")
    config = machine.config() if gateway else machine.layer2()
    expected = bridge_mac(machine) if existing is not None else None
    for container in ("c1", "c2", "c3"):
        result = machine.add(config, container)
        assert result["interfaces"][0]["mac"] == bridge_mac(machine)
        expected = expected or bridge_mac(machine)
        assert bridge_mac(machine) == expected
    for container in ("c2", "c1", "c3"):
        machine.delete(config, container)
        assert bridge_mac(machine) == expected
    machine.add(config, "c4")
    assert bridge_mac(machine) == expected


def test_a_port_of_somebody_else_does_not_change_it_either(machine: Machine) -> None:
    machine.add(machine.config())
    expected = bridge_mac(machine)
    machine.host.run("ip", "link", "add", "other", "address", "02:00:00:00:00:01", "type", "veth")
    machine.host.run("ip", "link", "set", "other", "master", "br0")
    assert bridge_mac(machine) == expected
    machine.host.run("ip", "link", "del", "other")
    assert bridge_mac(machine) == expected


def test_it_is_the_same_after_it_was_deleted(machine: Machine) -> None:
    config = machine.config()
    machine.add(config)
    expected = bridge_mac(machine)
    machine.delete(config)
    machine.host.run("ip", "link", "del", "br0")
    machine.add(config)
    assert bridge_mac(machine) == expected


def test_ports_have_higher_addresses_than_a_bridge_would_take(machine: Machine) -> None:
    result = machine.add(machine.config())
    assert result["interfaces"][1]["mac"].startswith("fe:")
    assert not int(result["interfaces"][2]["mac"][:2], 16) & 1


def test_settings_of_a_bridge_that_was_there_are_kept(machine: Machine) -> None:
    machine.host.run("ip", "link", "add", "br0", "mtu", "1300", "type", "bridge", "ageing_time", "1000")
    machine.add(machine.config(mtu=1250))
    bridge = machine.links()["br0"]
    assert bridge["linkinfo"]["info_data"]["ageing_time"] == 1000
    assert bridge["mtu"] in (1250, 1300)


def test_an_address_that_is_right_already(machine: Machine) -> None:
    machine.host.run("ip", "link", "add", "br0", "type", "bridge")
    machine.host.run("ip", "addr", "add", "10.10.0.1/24", "dev", "br0")
    machine.add(machine.config())
    assert machine.addresses("br0") == {"10.10.0.1/24"}


@pytest.mark.parametrize(
    ("other", "subnet"),
    [("10.77.0.1/24", "10.10.0.0/24"), ("10.10.0.1/16", "10.10.0.0/24"), ("fd00:10::9/48", "fd00:10::/64")],
)
def test_conflicting_addresses_and_force(machine: Machine, other: str, subnet: str) -> None:
    machine.host.run("ip", "link", "add", "br0", "up", "type", "bridge")
    machine.host.run("ip", "addr", "add", other, "dev", "br0")
    config = machine.config(subnet)
    error = machine.fail(config)
    assert error["code"] == 7
    assert 'failed to set bridge addr: "br0" already has an IP address different from' in error["msg"]
    assert "forceAddress" in error["details"]
    assert machine.addresses("br0") == {other}
    machine.add(config | {"forceAddress": True})
    assert len(machine.addresses("br0")) == 1
    assert other not in machine.addresses("br0")


def test_ipv6_addresses_of_other_subnets_are_no_conflict(machine: Machine) -> None:
    machine.host.run("ip", "link", "add", "br0", "up", "type", "bridge")
    machine.host.run("ip", "addr", "add", "fd00:99::1/64", "dev", "br0")
    machine.add(machine.config("fd00:10::/64"))
    assert machine.addresses("br0") == {"fd00:99::1/64", "fd00:10::1/64"}


def test_the_bridge_stays_when_the_last_container_leaves(machine: Machine) -> None:
    config = machine.config()
    machine.add(config)
    machine.delete(config)
    assert machine.addresses("br0") == {"10.10.0.1/24"}


@pytest.mark.parametrize("existing", [False, True])
def test_forwarding_that_is_off_for_new_links_is_switched_on(
    machine: Machine, outside: Outside, existing: bool
) -> None:
    host = machine.host
    for family in ("ipv4", "ipv6"):
        host.run("sysctl", "-qw", f"net.{family}.conf.all.forwarding=1")
        host.run("sysctl", "-qw", f"net.{family}.conf.default.forwarding=0")
    if existing:
        host.run("ip", "link", "add", "br0", "up", "type", "bridge")
    machine.add(machine.config("10.10.0.0/24", "fd00:10::/64"))
    for version in (4, 6):
        # The uplink, new as well, takes a second or two before it has IPv6 neighbours.
        assert any(can_reach(outside.namespace, OUTSIDE[version], machine.container()) for _ in range(5))


@pytest.mark.parametrize(("address", "gateway"), [("10.10.0.5/24", "0.0.0.0"), ("fd00:10::5/64", "::")])  # noqa: S104
def test_a_gateway_that_is_no_address(machine: Machine, address: str, gateway: str) -> None:
    config = machine.config()
    config["ipam"] = {"type": "host-local"}
    answer = dumps({"cniVersion": "1.1.0", "ips": [{"address": address, "gateway": gateway}]})
    plugin = machine.make_plugin(f"[ $CNI_COMMAND = ADD ] && echo '{answer}'; exit 0")
    error = machine.fail(config, CNI_PATH=plugin)
    assert (error["code"], "is not a usable address" in error["msg"]) == (7, True)


def test_spanning_tree_does_not_hold_add_up_for_ever(machine: Machine) -> None:
    machine.host.run(
        "ip", "link", "add", "br0", "up", "type", "bridge", "stp_state", "1", "forward_delay", "3000"
    )
    before = machine.snapshot()
    begin = time.monotonic()
    error = machine.fail(machine.config())
    assert time.monotonic() - begin < 10
    assert error["msg"].startswith("bridge port in error state: veth")
    assert "spanning tree" in error["details"]
    after = machine.snapshot()
    assert {key: after[key] for key in ("rules", "leases", "records", "containers")} == {
        key: before[key] for key in ("rules", "leases", "records", "containers")
    }
