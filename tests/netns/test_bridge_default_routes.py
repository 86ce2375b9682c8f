"""Containers on several networks: which network their packets to the world leave by."""

from itertools import permutations
from json import loads
from typing import Any

import pytest

from support.command import CommandLine
from support.machine import Config, Machine
from support.namespaces import Namespace
from support.traffic import OUTSIDE, UPLINK, Outside, arrives

OUT, INNER = "eth0", "eth1"
_SUBNETS = {"out": ("10.10.0.0/24", "fd00:10::/64"), "inner": ("10.20.0.0/24", "fd00:20::/64")}
_INNER_SOURCES = {4: "10.20.0.2", 6: "fd00:20::2"}


def make(machine: Machine, name: str, **keys: Any) -> Config:
    """Return a network; `inner` does not masquerade, which tells where a packet comes from."""
    return machine.config(*_SUBNETS[name], name=name, bridge=f"br-{name}", ipMasq=name == "out", **keys)


def find_sources(outside: Outside, client: Namespace) -> dict[int, str]:
    """Return what a container's packets to the world come from, by family."""
    # The kernel spreads packets over routes of the same metric.
    return {
        version: " ".join(sorted({arrives(outside.namespace, OUTSIDE[version], client) for _ in range(6)}))
        for version in (4, 6)
    }


def list_metrics(client: Namespace, ifname: str) -> list[int]:
    """Return the metrics of an interface's default routes, that of IPv4 first."""
    return [
        route.get("metric", 0)
        for family in ("-4", "-6")
        for route in loads(client.run("ip", family, "-j", "route", "show", "default", "dev", ifname))
    ]


@pytest.mark.parametrize("order", [*permutations((OUT, INNER)), ("net1", OUT), (OUT, "net1")])
def test_the_first_interface_counts_and_then_the_next(
    machine: Machine, outside: Outside, order: tuple[str, ...]
) -> None:
    inner = make(machine, "inner")
    configs = {OUT: make(machine, "out"), INNER: inner, "net1": inner}
    for ifname in order:
        machine.add(configs[ifname], ifname=ifname)
    assert find_sources(outside, machine.container()) == UPLINK
    for ifname in order:
        machine.check(configs[ifname], ifname=ifname)
    machine.delete(configs[OUT], ifname=OUT)
    assert find_sources(outside, machine.container()) == _INNER_SOURCES
    machine.add(configs[OUT], ifname=OUT)
    assert find_sources(outside, machine.container()) == UPLINK


@pytest.mark.parametrize("order", permutations(("out", "inner")))
@pytest.mark.parametrize(("first", "metrics"), [("inner", (10, 0)), ("inner", (10, 20)), ("out", (10, 0))])
def test_the_lowest_stated_metric_counts(
    machine: Machine, outside: Outside, order: tuple[str, ...], first: str, metrics: tuple[int, int]
) -> None:
    ifnames = {name: "eth0" if name == first else "eth1" for name in order}
    configs = {
        name: make(machine, name, metric=metric or None)
        for name, metric in zip(("out", "inner"), metrics, strict=True)
    }
    for name in order:
        machine.add(configs[name], ifname=ifnames[name])
    assert find_sources(outside, machine.container()) == UPLINK
    assert list_metrics(machine.container(), ifnames["out"]) == [10, 10]
    for name in order:
        machine.check(configs[name], ifname=ifnames[name])
    machine.delete(configs["out"], ifname=ifnames["out"])
    assert find_sources(outside, machine.container()) == _INNER_SOURCES


def test_a_single_network_leaves_the_metric_to_the_kernel(machine: Machine) -> None:
    config = make(machine, "out")
    for _ in range(2):
        result = machine.add(config)
        assert list_metrics(machine.container(), "eth0") == [0, 1024]
        assert not any("priority" in route for route in result["routes"])
        machine.delete(config)


def test_two_that_state_the_same_metric_come_one_after_the_other(machine: Machine, outside: Outside) -> None:
    for ifname, name in ((OUT, "out"), (INNER, "inner")):
        result = machine.add(make(machine, name, metric=100), ifname=ifname)
    assert [route["priority"] for route in result["routes"]] == [101, 101]
    assert find_sources(outside, machine.container()) == UPLINK


def test_a_priority_of_ipam_moves_no_other_route(machine: Machine) -> None:
    """With the reference's plugins, too, such a route comes after that of the first network."""
    machine.add(make(machine, "out"))
    second = make(machine, "inner")
    second["ipam"]["routes"] = [{"dst": "0.0.0.0/0", "priority": 200}, {"dst": "::/0", "priority": 2000}]
    machine.add(second, ifname="net1")
    assert list_metrics(machine.container(), "eth0") == [0, 1024]
    assert list_metrics(machine.container(), "net1") == [200, 2000]


@pytest.mark.parametrize("metric", [-1, 2**32])
def test_a_metric_that_cannot_be_is_refused(machine: Machine, metric: int) -> None:
    assert machine.fail(make(machine, "out", metric=metric))["msg"] == f"invalid metric {metric}"


@pytest.mark.long
def test_connecting_and_repairing_keep_the_order(
    shibafu: CommandLine, host: Namespace, web: Namespace
) -> None:
    world = Outside(host)
    subnets = {name: " ".join(f"--subnet {one}" for one in found) for name, found in _SUBNETS.items()}
    shibafu(f"network create out {subnets['out']}")
    shibafu(f"network create inner --no-masq {subnets['inner']}")
    shibafu("network create fast --subnet 10.30.0.0/24 --driver-opt metric=10")
    try:
        shibafu.connect("out", web)
        shibafu.connect("inner", web)
        assert find_sources(world, web) == UPLINK
        for family in ("-4", "-6"):
            web.run("ip", family, "route", "del", "default", "dev", "eth0")
        assert find_sources(world, web) == _INNER_SOURCES
        shibafu("network repair")
        assert find_sources(world, web) == UPLINK
        shibafu.connect("fast", web)
        assert list_metrics(web, "eth2") == [10]
        counting = {
            name: shibafu.json(f"network inspect {name}")[0]["endpoints"][0]["defaultRoutes"]
            for name in ("out", "inner", "fast")
        }
        no_more = {"ipv4": False, "ipv6": True}
        assert counting == {"out": no_more, "inner": {"ipv4": False, "ipv6": False}, "fast": {"ipv4": True}}
        assert "another network leads out by IPv4 and IPv6" in shibafu("network inspect inner")
        assert list_metrics(web, "eth0") == [1024, 1024]
        assert shibafu("network check").count("✓") == 6
        shibafu(f"network disconnect fast {web.name}")
        assert find_sources(world, web) == UPLINK
        shibafu(f"network disconnect out {web.name}")
        assert find_sources(world, web) == _INNER_SOURCES
    finally:
        world.close()
