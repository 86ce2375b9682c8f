"""What runs containers, each in its own way, for comparisons."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Protocol

from e2e.command import DATA_DIR, Command
from e2e.confinement import Confinement, parse_confinement
from e2e.image import NAME
from e2e.machine import Machine
from e2e.podman import Podman

_PATIENCE = 20  # seconds for a daemon
_PROBE = "cat /proc/self/limits; exec probe {}"


class Engine(Protocol):
    """What runs containers of the image that has the probe."""

    def measure(self, *options: str, paths: Sequence[str] = ()) -> Confinement:
        """Run the probe in a new container and return what it found.

        Args:
            options: of the engine's `run`.
            paths: in the container; the probe tries to write to them.
        """

    def start(self, name: str, *options: str) -> int:
        """Run a container that does nothing and return its process, as the machine sees it."""

    def remove(self, *names: str) -> None:
        """Kill and delete containers."""

    def network_create(self, name: str) -> None:
        """Make a network with default options."""


class Shibafu:
    """`shibafu run`.

    Args:
        machine: where.
        command: the command.
        image: the image's archive.
    """

    def __init__(self, machine: Machine, command: Command, image: Path) -> None:
        self._machine, self.command = machine, command
        command(f"image import probe {image}")

    def measure(self, *options: str, paths: Sequence[str] = ()) -> Confinement:
        script = _PROBE.format(" ".join(paths))
        text = self.command(f"run --name probe {' '.join(options)} probe sh -c '{script}'")
        config = self._machine.read(f"{DATA_DIR}/containers/probe/config.json")
        self.remove("probe")
        return _parse(self._machine, text, json.loads(config)["linux"])

    def start(self, name: str, *options: str) -> int:
        pid: int = self.command.json(f"run -d --name {name} {' '.join(options)} probe sleep 600")["pid"]
        return pid

    def remove(self, *names: str) -> None:
        self.command(f"rm --force {' '.join(names)}")

    def network_create(self, name: str) -> None:
        self.command(f"network create {name}")


class PodmanRun:
    """`podman run`."""

    def __init__(self, podman: Podman) -> None:
        self._podman = podman
        self._always = (f"--cgroup-parent={podman.machine.cgroup}",)

    def measure(self, *options: str, paths: Sequence[str] = ()) -> Confinement:
        script = _PROBE.format(" ".join(paths))
        run = ("run", "--name=probe", *self._always, *options)
        text = self._podman.run(*run, NAME, "sh", "-c", script)
        path = self._podman.run("inspect", "--format={{.OCIConfigPath}}", "probe").strip()
        config = self._podman.machine.read(path)
        self.remove("probe")
        return _parse(self._podman.machine, text, json.loads(config)["linux"])

    def start(self, name: str, *options: str) -> int:
        self._podman.run("run", "--detach", f"--name={name}", *self._always, *options, NAME, "sleep", "600")
        return int(self._podman.run("inspect", "--format={{.State.Pid}}", name))

    def remove(self, *names: str) -> None:
        self._podman.remove_container(*names)

    def network_create(self, name: str) -> None:
        self._podman.run("network", "create", name)


class Docker:
    """`docker run`, with a daemon of its own on the machine.

    Args:
        machine: where; what the daemon's networks leave there, stays.
        layer: the image's only layer.
    """

    _STATE = "/run/docker-state"

    def __init__(self, machine: Machine, layer: Path) -> None:
        self._machine = machine
        machine.start(
            "dockerd",
            *(f"--data-root={self._STATE}", f"--exec-root={self._STATE}/exec", "--storage-driver=vfs"),
            *("--exec-opt=native.cgroupdriver=cgroupfs", f"--cgroup-parent={machine.cgroup}"),
        )
        deadline = monotonic() + _PATIENCE
        while machine.try_run("docker", "version").returncode != 0:
            assert monotonic() < deadline, "dockerd does not come up"
            sleep(0.1)
        machine.run("docker", "import", str(layer), NAME)

    @property
    def version(self) -> str:
        """The daemon's version."""
        return self._machine.run("docker", "version", "--format={{.Server.Version}}").strip()

    def measure(self, *options: str, paths: Sequence[str] = ()) -> Confinement:
        script = _PROBE.format(" ".join(paths))
        text = self._machine.run("docker", "run", "--name=probe", *options, NAME, "sh", "-c", script)
        (view,) = json.loads(self._machine.run("docker", "inspect", "probe"))
        self.remove("probe")
        paths_of = {"maskedPaths": "MaskedPaths", "readonlyPaths": "ReadonlyPaths"}
        config = {key: view["HostConfig"][name] for key, name in paths_of.items()}
        return _parse(self._machine, text, config)

    def start(self, name: str, *options: str) -> int:
        run = ("docker", "run", "--detach", f"--name={name}", *options, NAME, "sleep", "600")
        self._machine.run(*run)
        return int(self._machine.run("docker", "inspect", "--format={{.State.Pid}}", name))

    def remove(self, *names: str) -> None:
        self._machine.run("docker", "rm", "--force", *names)

    def network_create(self, name: str) -> None:
        self._machine.run("docker", "network", "create", name)


def _parse(machine: Machine, text: str, config: dict[str, Any]) -> Confinement:
    spaces = machine.root.parent / "ns"
    host = {entry.name: os.readlink(entry) for entry in spaces.iterdir()}
    return parse_confinement(text, config["maskedPaths"], config["readonlyPaths"], host)
