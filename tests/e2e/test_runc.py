"""runc with hooks: createRuntime attaches, poststop detaches, and both have an empty environment."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from e2e.image import FETCH, parse_seen_address
from e2e.machine import CNI_PATH, HOST, OUTSIDE, Machine

HOOK = Path(__file__).with_name("hook.py")
CONFLIST = "/etc/cni/net.d/net.conflist"
SERVER = ("httpd", "-f", "-p", "80", "-h", "/www")
BRIDGE: Mapping[str, object] = {
    "type": "bridge",
    "bridge": "cni0",
    "isDefaultGateway": True,
    "ipMasq": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.86.0.0/24"}], [{"subnet": "fd86::/64"}]]},
}


class Runc:
    """runc and its bundles.

    Args:
        machine: where it runs.
        rootfs: the root file system of all containers.
    """

    def __init__(self, machine: Machine, rootfs: Path) -> None:
        self.machine = machine
        self.rootfs = rootfs

    def start_container(self, name: str, *command: str) -> None:
        """Start a container with hooks for the network `net`."""
        done = self.try_start_container(name, *command)
        assert done == 0, self.machine.read(f"/run/{name}.log")

    def try_start_container(self, name: str, *command: str) -> int:
        """Start a container that may fail to, and return runc's status."""
        bundle = f"/run/bundles/{name}"
        self.machine.run("mkdir", "-p", bundle)
        self.machine.run("runc", "spec", "--bundle", bundle)
        spec = json.loads(self.machine.read(f"{bundle}/config.json"))
        self.machine.write(f"{bundle}/config.json", self._calc_spec(spec, name, command))
        # Not with a pipe for the output, which the container would keep open.
        shell = f"runc run --detach --bundle {bundle} {name} >/run/{name}.log 2>&1 </dev/null"
        return self.machine.try_run("sh", "-c", shell).returncode

    def delete_container(self, name: str) -> None:
        """Kill and delete a container."""
        self.machine.run("runc", "delete", "--force", name)

    def fetch_seen_address(self, address: str, name: str) -> str:
        """Return the address from which the server at `address` sees a container come."""
        command = ("sh", "-c", FETCH, "sh", address, "80")
        return parse_seen_address(self.machine.run("runc", "exec", name, *command))

    def _calc_spec(self, spec: Any, name: str, command: tuple[str, ...]) -> Any:
        spec["process"] |= {"terminal": False, "args": list(command), "rlimits": []}
        spec["root"] = {"path": str(self.rootfs), "readonly": True}
        spec["linux"]["cgroupsPath"] = f"{self.machine.cgroup}/{name}"
        spec["hooks"] = {
            hook: [{"path": str(HOOK), "args": ["hook.py", verb, CONFLIST, CNI_PATH]}]
            for hook, verb in (("createRuntime", "ADD"), ("poststop", "DEL"))
        }
        return spec


@pytest.fixture
def runc(machine: Machine, rootfs: Path) -> Runc:
    return Runc(machine, rootfs)


def test_attaches_containers(machine: Machine, runc: Runc) -> None:
    machine.network_write("net", BRIDGE)
    machine.serve("outside")
    for name in ("c1", "c2"):
        runc.start_container(name, *SERVER)
    assert len(machine.records()) == 2
    for address in ("10.86.0.2", "fd86::3"):
        machine.wait_for_server(address)

    def fetch(address: str) -> str:
        return runc.fetch_seen_address(address, "c2")

    assert [fetch(address) for address in ("10.86.0.2", "fd86::2")] == ["10.86.0.3", "fd86::3"]
    assert [fetch(address) for address in OUTSIDE] == list(HOST)
    runc.delete_container("c1")
    assert len(machine.records()) == 1
    runc.delete_container("c2")


def test_cleans_up_when_a_later_plugin_fails(machine: Machine, runc: Runc) -> None:
    machine.network_write("net", BRIDGE, {"type": "tuning", "sysctl": {"kernel.hostname": "x"}})
    assert runc.try_start_container("c1", *SERVER)
    assert "invalid net sysctl key" in machine.read("/run/c1.log")
    assert machine.files("/var/lib/cni/networks")  # it was attached


def test_cleans_up_after_a_container_that_was_killed(machine: Machine, runc: Runc) -> None:
    machine.network_write("net", BRIDGE)
    runc.start_container("c1", *SERVER)
    machine.run("runc", "kill", "c1", "KILL")
    runc.delete_container("c1")
