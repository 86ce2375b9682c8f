"""containerd, and containers that its client `ctr` attaches to a network."""

import subprocess
from pathlib import Path
from time import monotonic, sleep

from e2e.image import FETCH, NAME, parse_seen_address
from e2e.machine import Machine

CRI = "k8s.io"  # the namespace of all that kubelet asks for
SOCKET = "/run/containerd/containerd.sock"
# Storage in memory: overlayfs does not lie over another overlayfs.
_CONFIG = f"""
version = 2
root = "/run/containerd/root"
state = "/run/containerd/state"
{{disabled}}
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{NAME}"
restrict_oom_score_adj = true
"""
_WITHOUT_CRI = 'disabled_plugins = ["io.containerd.grpc.v1.cri"]'
_TIMEOUT = 20  # seconds
_FETCHES = 3


class Containerd:
    """The daemon, running.

    Args:
        machine: where it runs, and ends at the latest.
        image: the archive of the only image that it knows.
        namespace: of its own, where the image is; `CRI` has kubelet's plugin run.
    """

    def __init__(self, machine: Machine, image: Path, namespace: str = "default") -> None:
        self.machine = machine
        disabled = "" if namespace == CRI else _WITHOUT_CRI
        machine.write("/etc/containerd/config.toml", _CONFIG.format(disabled=disabled))
        daemon = machine.start("containerd")
        deadline = monotonic() + _TIMEOUT
        while machine.try_run("ctr", "version").returncode:
            assert daemon.poll() is None, daemon.communicate()[0]
            assert monotonic() < deadline, "containerd does not answer"
            sleep(0.05)
        machine.run("ctr", f"--namespace={namespace}", "image", "import", str(image))

    def start_container(self, name: str, *command: str) -> "subprocess.Popen[str]":
        """Run a container on the first network of /etc/cni/net.d; return its client, which waits for its end.

        Args:
            name: of the container.
            command: in place of a server that tells its clients on port 80 which address they come from.
        """
        cgroup = f"--cgroup={self.machine.cgroup}/{name}"
        command = command or ("httpd", "-f", "-p", "80", "-h", "/www")
        return self.machine.start("ctr", "run", "--rm", "--cni", cgroup, NAME, name, *command)

    def kill_container(self, name: str) -> None:
        """End a container."""
        self.machine.run("ctr", "task", "kill", "--signal=KILL", name)

    def fetch_seen_address(self, address: str, name: str) -> str:
        """Return the address from which the server at `address` sees a container come."""
        command = ("ctr", "task", "exec", "--exec-id=fetch", name, "sh", "-c", FETCH, "sh", address, "80")
        # On a busy machine there may be none: nc waits for three seconds, and ctr may end before it has one.
        answers = (self.machine.run(*command) for _ in range(_FETCHES))
        return parse_seen_address(next(filter(None, answers), ""))
