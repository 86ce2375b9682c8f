"""Podman with its CNI backend, on a machine."""

import json
import resource
from pathlib import Path
from typing import Any

from e2e.image import FETCH, NAME, parse_seen_address
from e2e.machine import CNI_PATH, Machine

# Podman's defaults are more than the tests themselves may have; these come as near as they can.
_LIMITS = {
    name: min(default, resource.getrlimit(number)[1])
    for name, number, default in (
        ("nofile", resource.RLIMIT_NOFILE, 1 << 20),
        ("nproc", resource.RLIMIT_NPROC, 1 << 22),
    )
}
_CONFIG = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "cni"
cni_plugin_dirs = ["{plugins}"]
network_config_dir = "/etc/cni/net.d"
[containers]
default_ulimits = {limits}
"""
# Global options: all of its state is the machine's.
DIRECTORIES = ("--root=/run/podman/root", "--runroot=/run/podman/run", "--tmpdir=/run/podman/tmp")


class Podman:
    """Podman with a storage of its own.

    Args:
        machine: where it runs.
        image: the archive of the only image that it knows.
        plugins: the directory of its CNI plugins.
    """

    def __init__(self, machine: Machine, image: Path, plugins: str = CNI_PATH) -> None:
        self.machine = machine
        limits = [f"{name}={limit}:{limit}" for name, limit in _LIMITS.items()]
        machine.write("/etc/containers/containers.conf", _CONFIG.format(plugins=plugins, limits=limits))
        self.run("load", "--quiet", "--input", str(image))

    def run(self, *arguments: str) -> str:
        """Run `podman` with these arguments and return what it printed."""
        return self.machine.run("podman", *DIRECTORIES, *arguments)

    def start_container(self, name: str, *options: str) -> None:
        """Run a container that tells its clients on port 80 which address they come from."""
        command = ("httpd", "-f", "-p", "80", "-h", "/www")
        always = ("--stop-signal=KILL", "--cap-add=NET_RAW", f"--cgroup-parent={self.machine.cgroup}")
        self.run("run", "--detach", f"--name={name}", *always, *options, NAME, *command)
        self.machine.wait_for_server("::1", self.netns(name))

    def remove_container(self, *names: str) -> None:
        """Kill and delete containers."""
        self.run("rm", "--force", "--time=0", *names)

    def networks(self, name: str) -> Any:
        """Return what Podman knows of the networks that a container is attached to, by name."""
        return self._inspect(name)["Networks"]

    def netns(self, name: str) -> str:
        """Return the name of a container's network namespace."""
        return Path(self._inspect(name)["SandboxKey"]).name

    def fetch_seen_address(self, address: str, name: str, port: int = 80) -> str:
        """Return the address from which the server at `address` sees a container come."""
        return parse_seen_address(self.run("exec", name, "sh", "-c", FETCH, "sh", address, str(port)))

    def _inspect(self, name: str) -> Any:
        return json.loads(self.run("inspect", name))[0]["NetworkSettings"]
