"""Containers of a network reach each other where the host's firewall sees what its bridges forward."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import Config, Machine, link_iptables
from support.namespaces import Namespace
from support.remains import assert_no_rules
from support.suite import Suite
from support.traffic import can_reach

SWITCHES = {4: "bridge-nf-call-iptables", 6: "bridge-nf-call-ip6tables"}
FAMILIES = {4: "iptables", 6: "ip6tables"}
SECOND = {4: "10.10.0.3", 6: "fd00:10::3"}

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/sys/net/bridge"), reason="this kernel has not loaded br_netfilter"
)
families = pytest.mark.parametrize("version", [4, 6])
networks = pytest.mark.parametrize(
    "keys",
    [
        {},
        {"ipMasq": False},
        {"ipMasq": False, "isDefaultGateway": False},
        {"ipMasq": False, "isDefaultGateway": False, "isolate": True},
        {"ipMasq": False, "isolate": True},
        {"isolate": True},
    ],
    ids=str,
)


@pytest.fixture(params=["nft", "legacy"])
def machine(suite: Suite, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A Docker host: br_netfilter is loaded, and FORWARD drops what nobody accepts."""
    with Namespace("host") as host:
        host.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        made = Machine(suite, host, tmp_path, link_iptables(tmp_path / "bin", request.param))
        switch(made, "1")
        for family in FAMILIES.values():
            made.iptables("-P FORWARD DROP", family=family)
        yield made
        made.close()


def switch(machine: Machine, value: str) -> None:
    for name in SWITCHES.values():
        machine.host.run("sysctl", "-qw", f"net.bridge.{name}={value}")


def attach(machine: Machine, **keys: object) -> Config:
    config = machine.config("10.10.0.0/24", "fd00:10::/64", **keys)
    for name in ("c1", "c2"):
        machine.add(config, name)
        machine.check(config, name)
    return config


@networks
def test_neighbours_reach_each_other(machine: Machine, keys: Config) -> None:
    config = attach(machine, **keys)
    for version in (4, 6):
        assert can_reach(machine.container("c2"), SECOND[version], machine.container("c1"))
    for name in ("c1", "c2"):
        machine.delete(config, name)
    assert_no_rules(machine)


@families
def test_isolated_ports_stay_apart(machine: Machine, version: int) -> None:
    attach(machine, ipMasq=False, portIsolation=True)
    assert not can_reach(machine.container("c2"), SECOND[version], machine.container("c1"))


def test_it_is_loaded_while_containers_run(machine: Machine) -> None:
    switch(machine, "0")
    config = attach(machine, ipMasq=False)
    assert machine.rules() == []
    first, second = machine.container("c1"), machine.container("c2")
    assert can_reach(second, SECOND[4], first)
    switch(machine, "1")
    assert not can_reach(second, SECOND[4], first)
    assert machine.fail(config, "c1", command="CHECK")["msg"] == "firewall rules of network net are missing"
    machine.add(config, "c3")
    machine.check(config, "c1")
    assert can_reach(second, SECOND[4], first)
    switch(machine, "0")
    machine.check(config, "c1")
    for name in ("c1", "c2", "c3"):
        machine.delete(config, name)
    assert_no_rules(machine)


def test_without_iptables_a_network_that_asks_for_no_rules_gets_none(machine: Machine) -> None:
    machine.hide("mount -t tmpfs none /usr/sbin")
    machine.path = "/usr/bin:/bin"
    config = machine.config(ipMasq=False)
    machine.add(config)
    machine.check(config)
    machine.delete(config)
    assert machine.remembered() == set()
