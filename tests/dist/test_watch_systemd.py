"""The watcher as a service of systemd, one of the test's own."""

import shutil
from collections.abc import Iterator
from json import dumps
from pathlib import Path

import pytest

from dist.target import Target
from support.machine import Machine
from support.namespaces import Namespace
from support.suite import Suite
from support.systemd import Systemd, find_cgroup
from support.traffic import can_reach
from support.waiting import wait_for

CGROUP = find_cgroup()
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("systemctl") or CGROUP is None, reason="needs systemd and cgroup v2"),
]


@pytest.fixture
def target(tmp_path: Path, built: Path) -> Iterator[Target]:
    made = Target(tmp_path / "root", built)
    made.install("--as-reference")
    yield made
    made.uninstall()


@pytest.fixture
def machine(target: Target, tmp_path: Path) -> Iterator[Machine]:
    with Namespace("host") as host:
        made = Machine(Suite(target.bindir, [], is_built=True), host, tmp_path)
        made.container()  # systemd's mount namespace sees what is there when it is made
        yield made
        made.close()


@pytest.fixture
def systemd(target: Target, machine: Machine, tmp_path: Path) -> Iterator[Systemd]:
    assert CGROUP is not None
    target.unit = target.unit.with_name("shibafu-watch.service")
    target.install_unit()
    unit = target.unit.read_text()
    # This test's host, and its network.
    unit = unit.replace("ExecStart=", f"ExecStart=/usr/bin/nsenter --net={machine.host.path} ")
    target.unit.write_text(unit.replace("[Service]", f"[Service]\nEnvironment=CNI_CONF_DIR={tmp_path}/net.d"))
    with Systemd(CGROUP, target.unit) as made:
        machine.prefix = made.prefix
        yield made


def test_a_service_heals_is_killed_and_heals_again(
    machine: Machine, systemd: Systemd, tmp_path: Path
) -> None:
    """With the few capabilities that it has."""
    config = machine.config()
    (tmp_path / "net.d").mkdir()
    plugins = [{key: value for key, value in config.items() if key not in ("cniVersion", "name")}]
    document = {"cniVersion": config["cniVersion"], "name": config["name"], "plugins": plugins}
    (tmp_path / "net.d/net.conflist").write_text(dumps(document))
    machine.add(config)
    systemd.control("start")
    assert systemd.show("ActiveState") == "active"
    _break_and_see(machine)
    systemd.run("kill", "-KILL", systemd.show("MainPID"))
    _break_and_see(machine)
    wait_for(lambda: systemd.show("NRestarts") == "1" and systemd.show("ActiveState") == "active")
    systemd.control("stop")
    assert (systemd.show("ActiveState"), systemd.show("Result")) == ("inactive", "success")
    machine.delete(config)


def _break_and_see(machine: Machine) -> None:
    """Remove the bridge and the rules, and wait until a container reaches its gateway and rules are there."""
    machine.host.run("ip", "link", "del", "br0")
    machine.host.run("nft", "flush", "ruleset")
    wait_for(lambda: "10.10.0.1/24" in machine.host.run("ip", "addr"))
    wait_for(lambda: can_reach(machine.host, "10.10.0.1", machine.container()))
    wait_for(lambda: "MASQUERADE" in machine.host.run("iptables-save", "-t", "nat"))
