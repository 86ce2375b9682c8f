"""shibafu-hook in a hooks directory of Podman, with annotations that others write."""

from pathlib import Path

import pytest

from e2e.image import NAME
from e2e.machine import Machine
from e2e.podman import DIRECTORIES, Podman
from support.suite import Suite

_HOOKS = "/run/hooks.d"
_VICTIM = "/run/victim"
_NETWORK = {
    "type": "shibafu-bridge",
    "bridge": "blue0",
    "ipam": {"type": "shibafu-ipam", "ranges": [[{"subnet": "10.80.0.0/24"}]]},
}


@pytest.fixture
def podman(machine: Machine, image: Path, suite: Suite) -> Podman:
    podman = Podman(machine, image)
    hook = (suite.directory / "shibafu-bridge").resolve().parent / "shibafu-hook"
    machine.network_write("blue", _NETWORK)
    machine.network_write("green", _NETWORK | {"bridge": "green0"})
    machine.write(
        f"{_HOOKS}/shibafu.json",
        {
            "version": "1.0.0",
            "hook": {"path": str(hook), "args": ["shibafu-hook", "--network=blue"]},
            "when": {"always": True},
            "stages": ["createRuntime", "poststop"],
        },
    )
    machine.write(_VICTIM, "mine\n")
    return podman


@pytest.mark.parametrize(
    ("annotations", "sentence"),
    [
        ({"hosts": _VICTIM}, f'"{_VICTIM}" is not a file inside the bundle'),
        ({"resolv-conf": f"../../../../../../../..{_VICTIM}"}, '"../'),
        ({"hosts": "config.json"}, "config.json belongs to the container, the engine or the host"),
        ({"network": "green"}, '"org.shibafu.network" cannot override'),
        ({"ip.green": "10.80.0.66"}, '"org.shibafu.ip.green" is for a network that'),
        ({"ports": "22:22"}, '"org.shibafu.ports": 22 is a port'),
        ({"mac": "02:00:00:00:00:01;IP=10.80.0.66"}, '"org.shibafu.mac": address'),
    ],
)
def test_who_writes_annotations_does_not_get_past_the_administrator(
    machine: Machine, podman: Podman, annotations: dict[str, str], sentence: str
) -> None:
    options = [f"--annotation=org.shibafu.{key}={value}" for key, value in annotations.items()]
    always = ("--network=none", f"--hooks-dir={_HOOKS}", f"--cgroup-parent={machine.cgroup}")
    done = machine.try_run(
        "podman", *DIRECTORIES, always[1], "run", always[0], always[2], *options, NAME, "true"
    )
    told = (done.stdout + done.stderr).replace("\\", "")
    assert f"shibafu-hook: {sentence}" in told
    assert machine.run("cat", _VICTIM) == "mine\n"
    assert machine.leases() == []
