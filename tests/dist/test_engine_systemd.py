"""The engine as a service of systemd, one of the test's own."""

import os
import shutil
from collections.abc import Iterator
from json import loads
from pathlib import Path

import pytest

from dist.target import Target
from support.machine import Machine
from support.namespaces import Namespace
from support.suite import Suite
from support.systemd import Systemd, find_cgroup
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
    (tmp_path / "store").mkdir()
    with Namespace("host") as host:
        made = Machine(Suite(target.bindir, [], is_built=True), host, tmp_path / "store")
        made.container()  # systemd's mount namespace sees what is there when it is made
        yield made
        made.close()


@pytest.fixture
def systemd(target: Target, machine: Machine) -> Iterator[Systemd]:
    assert CGROUP is not None
    target.install_unit()
    with Systemd(CGROUP, target.unit) as made:
        machine.prefix = made.prefix
        yield made


def test_a_service_that_is_killed_while_a_call_runs(
    target: Target, machine: Machine, systemd: Systemd, tmp_path: Path
) -> None:
    """The call goes on, and the service starts again."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    waiting = machine.make_plugin(f'read word <{fifo}; exec "$REAL"')

    def read_status() -> dict[str, object]:
        status: dict[str, object] = loads(
            systemd.run(target.sbindir / "shibafu", "engine", "status", "--format", "json")
        )
        return status

    systemd.control("start")
    assert systemd.show("ActiveState") == "active"
    first = read_status()
    assert first["supervisor"] == "systemd"
    assert systemd.show("MainPID") == str(first["pid"])

    call = machine.start("ADD", machine.config(), CNI_PATH=waiting)
    with fifo.open("w") as released:
        assert read_status()["busy"] == 1
        systemd.run("kill", "-KILL", str(first["pid"]))
        wait_for(lambda: systemd.show("NRestarts") == "1" and systemd.show("ActiveState") == "active")
        assert read_status()["pid"] != first["pid"]
        released.write("now\n")
    answer = call.finish()
    assert answer.status == 0, answer
    machine.delete(machine.config())
    wait_for(lambda: bool(read_status()["calls"]))

    systemd.control("restart")
    assert read_status()["calls"] == []
    systemd.control("stop")
    assert (systemd.show("ActiveState"), systemd.show("Result")) == ("inactive", "success")
