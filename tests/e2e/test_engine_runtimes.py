"""Runtimes whose calls the resident engine does, on a machine of their own: one test of each."""

from pathlib import Path

import pytest

from e2e import test_containerd as by_containerd
from e2e import test_hook_runc as by_hook
from e2e import test_podman as by_podman
from e2e import test_runc as by_runc
from e2e.bundles import Bundles
from e2e.containerd import Containerd
from e2e.machine import Machine
from e2e.podman import Podman
from shibafu.engine.location import EngineLocation
from support.engine import is_listening, read_status, tally
from support.suite import Suite
from support.waiting import wait_for

podman, containerd, runc = by_podman.podman, by_containerd.containerd, by_runc.runc
bundles, hook = by_hook.bundles, by_hook.hook


class Engine:
    """The engine of a machine; it ends with that.

    Args:
        machine: where it runs.
        home: the folder of its executables.
    """

    def __init__(self, machine: Machine, home: Path) -> None:
        self._status = machine.root / EngineLocation(str(home)).status.lstrip("/")
        self._process = machine.start(str(home / "shibafu-engine"))
        wait_for(self._is_listening)

    def _is_listening(self) -> bool:
        assert self._process.poll() is None, self._process.communicate()[0]
        return is_listening(self._status)

    def assert_all_served(self, *ends: str) -> None:
        """See that calls ended in these ways, in the words of `tally`, and that no call has failed.

        A runtime's chain may have more plugins of the suite, whose calls are served, too.
        """
        told = set(tally(read_status(self._status)))
        assert told >= set(ends)
        assert all(end.startswith("served ") for end in told)


@pytest.fixture
def engine(machine: Machine, suite: Suite) -> Engine:
    return Engine(machine, (suite.directory / "shibafu-bridge").resolve().parent)


def test_podman(engine: Engine, machine: Machine, podman: Podman) -> None:
    by_podman.test_attaches_containers_to_a_dual_stack_network(machine, podman)
    engine.assert_all_served(
        "served shibafu-bridge VERSION", "served shibafu-bridge ADD", "served shibafu-bridge DEL"
    )


def test_containerd(engine: Engine, machine: Machine, containerd: Containerd) -> None:
    by_containerd.test_attaches_containers(machine, containerd, "1.0.0")
    engine.assert_all_served("served shibafu-bridge ADD", "served shibafu-bridge DEL")


def test_runc(engine: Engine, machine: Machine, runc: by_runc.Runc) -> None:
    by_runc.test_attaches_containers(machine, runc)
    engine.assert_all_served("served shibafu-bridge ADD", "served shibafu-bridge DEL")


def test_the_hook_of_runc(engine: Engine, machine: Machine, bundles: Bundles) -> None:
    by_hook.test_two_containers_reach_each_other_and_the_world(machine, bundles)
    engine.assert_all_served("served shibafu-hook", "served shibafu-bridge ADD", "served shibafu-bridge DEL")
