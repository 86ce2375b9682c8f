"""Fixtures of the port plugin's tests: each runs with both backends, and both variants of iptables."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.portmap.places import find_register
from support.machine import SYSTEM_PATH, Config, Machine, link_iptables
from support.namespaces import Namespace
from support.published import Publisher
from support.suite import Suite
from support.traffic import UPLINK, Outside


@pytest.fixture(params=["nft", pytest.param("legacy", marks=pytest.mark.long), "nftables"])
def machine(suite: Suite, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A host whose iptables is of one variant, or where the other backend is used."""
    is_nftables = request.param == "nftables"
    path = SYSTEM_PATH if is_nftables else link_iptables(tmp_path / "bin", request.param)
    with Namespace("host") as host:
        host.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        made = Machine(suite, host, tmp_path, path)
        made.backend = "nftables" if is_nftables else "iptables"
        yield made
        find_register(made).unlink(missing_ok=True)
        made.close()


@pytest.fixture
def config(machine: Machine) -> Config:
    """A dual-stack NAT network whose containers reach themselves by the bridge."""
    return machine.config("10.10.0.0/24", "fd00:10::/64", ipMasqBackend=machine.backend, hairpinMode=True)


@pytest.fixture
def publisher(machine: Machine) -> Publisher:
    return Publisher(machine, machine.backend)


@pytest.fixture
def outside(machine: Machine) -> Iterator[Outside]:
    made = Outside(machine.host)
    made.namespace.run("ip", "route", "add", "default", "via", UPLINK[4])
    made.namespace.run("ip", "-6", "route", "add", "default", "via", UPLINK[6])
    yield made
    made.close()
