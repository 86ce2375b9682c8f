"""`shibafu overlay inspect`: etcd's side of a network, the kernel's, and where they differ."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netns.overlay_lab import DUAL_STACK, OverlayHost, OverlayLab, calc_host, wait_until
from support.schemas import assert_closed, validated

pytestmark = pytest.mark.long


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[OverlayLab]:
    with OverlayLab(tmp_path, 2, DUAL_STACK) as made:
        made.start()
        wait_until(lambda: made.hosts[1].read_state()["state"] == "joined", "the state")
        yield made


def inspect(host: OverlayHost) -> Any:
    seen = json.loads(host.command("inspect", host.name, "--format", "json"))
    return validated("overlay inspect", seen)


def test_the_whole_picture(lab: OverlayLab) -> None:
    first, second = lab.hosts
    seen = inspect(second)
    assert_closed("overlay-inspect.json", seen)
    assert seen["faults"] == []
    assert seen["config"]["ranges"] == [
        {"network": "10.42.0.0/16", "subnetLength": 24, "subnets": 255},
        {"network": "fd42::/48", "subnetLength": 64, "subnets": 65535},
    ]
    assert seen["agent"] == {"running": True, "state": "joined"}
    own = seen["host"]
    assert (own["publicIP"], own["publicIPv6"]) == (second.address, second.address6)
    assert f"{own['subnet']}" == second.read_subnet().replace(".1/", ".0/")
    assert 86300 < own["left"] <= 86400
    for device, mtu in zip(seen["devices"], (1450, 1430), strict=True):
        mac = second.namespace.read_link(device["name"], "address")
        assert (device["mac"], device["mtu"], device["port"]) == (mac, mtu, 8472)
    (peer,) = seen["peers"]
    assert peer["publicIP"] == first.address
    # An FDB entry, a neighbour and a route of each family.
    assert len(peer["entries"]) == 6
    assert peer["missing"] == []
    route = f"route {peer['subnet']} via {peer['subnet'].partition('/')[0]} dev flannel.1"
    assert route in peer["entries"]
    shown = second.command("inspect", second.name)
    assert "6 of 6" in shown
    assert f"{own['subnet']} and {own['subnet6']} at {second.address} (eth0)" in shown


def test_what_the_kernel_lacks_and_has_too_much(lab: OverlayLab) -> None:
    first, second = lab.hosts
    second.stop()
    run = second.namespace.run
    subnet = first.read_subnet().replace(".1/", ".0/")
    run("ip", "route", "del", subnet)
    run("ip", "link", "del", "flannel-v6.1")
    run("ip", "link", "set", "flannel.1", "mtu", "1400")
    run("ip", "route", "add", "10.42.250.0/24", "via", "10.42.250.0", "dev", "flannel.1", "onlink")
    lab.etcd.ctl("put", *calc_host(1))
    seen = inspect(second)
    near = next(peer for peer in seen["peers"] if peer["publicIP"] == first.address)
    assert near["missing"] == [f"route {subnet} via {subnet.partition('/')[0]} dev flannel.1"]
    assert set(seen["faults"]) >= {
        "the agent is not running",
        "device flannel.1: its MTU is 1400 instead of 1450",
        "device flannel-v6.1: it is missing",
        f"host {first.address}: the kernel lacks 1 of 3 entries",
        "no host needs the route 10.42.250.0/24 dev flannel.1",
    }
    assert [device["present"] for device in seen["devices"]] == [True, False]
    shown = second.command("inspect", second.name)
    assert ", mtu 1400" in shown
    assert "flannel-v6.1: missing" in shown


def test_another_host_has_taken_the_subnet(lab: OverlayLab) -> None:
    second = lab.hosts[1]
    state = second.read_state()
    key = next(key for key, value in lab.list_keys().items() if second.address in value)
    value = lab.list_keys()[key].replace(second.address, "192.168.77.99")
    lab.etcd.ctl("put", f"/coreos.com/network/subnets/{key}", value)
    wait_until(lambda: second.read_state()["state"] == "taken", "the loss")
    seen = inspect(second)
    assert seen["host"] is None
    assert f"etcd does not have {state['subnet']} as the subnet of this host" in seen["faults"]
    assert (
        f"host 192.168.77.99: {state['subnet']} is not of this network, or is this host's own subnet"
        in (seen["faults"])
    )
    assert all(device["present"] for device in seen["devices"])


def test_nothing_is_there_yet(lab: OverlayLab) -> None:
    second = lab.hosts[1]
    second.stop()
    second.command("rm", second.address)
    seen = inspect(second)
    assert (seen["host"], seen["devices"], seen["peers"]) == (None, [], [])
    assert seen["faults"] == ["this host has no subnet", "the agent is not running"]
    lab.etcd.ctl("del", "/coreos.com/network/config")
    assert "etcd has no network" in second.command("inspect", second.name, status=1)
