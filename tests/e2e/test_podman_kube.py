"""`podman kube play`: the annotations of a pod's author, and shibafu-hook in a hooks directory of Podman."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from e2e.image import NAME
from e2e.machine import Machine
from e2e.podman import DIRECTORIES, Podman
from support.suite import Suite

_HOOKS = "/run/hooks.d"
_POD = "/run/pod.json"
_VICTIM = "/run/victim"
_NETWORK = {
    "type": "shibafu-bridge",
    "bridge": "blue0",
    "ipam": {"type": "shibafu-ipam", "ranges": [[{"subnet": "10.80.0.0/24"}]]},
}


class Pods:
    """Pods of one container, which is on no network of Podman's.

    Podman makes the container that holds a pod's namespaces of Debian's package catatonit. It has none of the
    pod's annotations.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def play(self, annotations: dict[str, str]) -> str:
        """Run the pod and return what Podman says when it fails."""
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "web",
                "annotations": {f"org.shibafu.{key}": text for key, text in annotations.items()},
            },
            "spec": {
                "containers": [
                    {"name": "one", "image": NAME, "imagePullPolicy": "Never", "command": ["sleep", "600"]}
                ]
            },
        }
        self._machine.write(_POD, pod)
        done = self._machine.try_run(
            *("podman", *DIRECTORIES, f"--hooks-dir={_HOOKS}", "kube", "play", "--network=none", _POD)
        )
        return done.stderr if done.returncode else ""

    def down(self) -> None:
        """Remove the pod, and of its control groups those that Podman leaves."""
        (pod,) = self._machine.run("podman", *DIRECTORIES, "pod", "ps", "--quiet", "--no-trunc").split()
        self._machine.run("podman", *DIRECTORIES, f"--hooks-dir={_HOOKS}", "kube", "down", _POD)
        for parent in Path("/sys/fs/cgroup").glob("*/libpod_parent"):
            with suppress(FileNotFoundError):
                (parent / pod).rmdir()
            with suppress(OSError):  # somebody else's pods
                parent.rmdir()


@pytest.fixture
def podman(machine: Machine, image: Path, suite: Suite) -> Podman:
    hook = (suite.directory / "shibafu-bridge").resolve().parent / "shibafu-hook"
    machine.network_write("blue", _NETWORK)
    machine.network_write("green", _NETWORK | {"bridge": "green0"})
    machine.write(_VICTIM, "mine\n")
    machine.write(
        f"{_HOOKS}/shibafu.json",
        {
            "version": "1.0.0",
            "hook": {"path": str(hook), "args": ["shibafu-hook", "--network=blue"]},
            "when": {"annotations": {r"^org\.shibafu\.": ""}},
            "stages": ["createRuntime", "poststop"],
        },
    )
    return Podman(machine, image)


@pytest.fixture
def pods(machine: Machine, podman: Podman) -> Iterator[Pods]:
    pods = Pods(machine)
    yield pods
    pods.down()


@pytest.mark.parametrize(
    ("annotations", "sentence"),
    [
        ({"hosts": _VICTIM}, f'"{_VICTIM}" is not a file inside the bundle'),
        ({"resolv-conf": f"../../../../../../../..{_VICTIM}"}, '"../'),
        ({"network": "green"}, '"org.shibafu.network" cannot override'),
        ({"ports": "22:22"}, '"org.shibafu.ports": 22 is a port'),
        ({"mac": "02:00:00:00:00:01;IP=10.80.0.66"}, '"org.shibafu.mac": address'),
    ],
)
def test_a_pods_author_does_not_get_past_the_administrator(
    machine: Machine, pods: Pods, annotations: dict[str, str], sentence: str
) -> None:
    assert f"shibafu-hook: {sentence}" in pods.play(annotations).replace("\\", "")
    assert machine.run("cat", _VICTIM) == "mine\n"
    assert machine.leases() == []


def test_a_pods_author_chooses_an_address(machine: Machine, podman: Podman, pods: Pods) -> None:
    assert pods.play({"ip": "10.80.0.77"}) == ""
    assert "inet 10.80.0.77/24" in podman.run("exec", "web-one", "ip", "addr", "show", "eth0")
    assert [Path(lease).name for lease in machine.leases()] == ["10.80.0.77"]
