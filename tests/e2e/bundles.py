"""OCI bundles with shibafu-hook, run by runc on a machine."""

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from e2e.image import make_rootfs
from e2e.machine import Machine

SAMPLE = Path(__file__).parents[2] / "conf/hooks/config.json"
_DIRECTORY = "/run/bundles"


class Bundles:
    """Containers of runc, each in a bundle like the sample in conf/.

    Args:
        machine: where they run.
        hook: shibafu-hook.
    """

    def __init__(self, machine: Machine, hook: Path) -> None:
        self.machine = machine
        self.hook = hook

    def write(self, name: str, hook_args: tuple[str, ...] = (), **annotations: str) -> Path:
        """Write the bundle of a container, with annotations whose names are given without `org.shibafu.`."""
        config = json.loads(SAMPLE.read_text())
        config["hostname"] = name
        prefixed = {f"org.shibafu.{key.replace('_', '-')}": value for key, value in annotations.items()}
        config["annotations"] = prefixed
        config["linux"]["cgroupsPath"] = f"{self.machine.cgroup}/{name}"
        for hooks in config["hooks"].values():
            for hook in hooks:
                hook["path"] = str(self.hook)
                hook["args"] += hook_args
        bundle = self.path(name)
        make_rootfs(bundle / "rootfs")
        (bundle / "config.json").write_text(json.dumps(config))
        for file in ("resolv.conf", "hosts"):
            (bundle / file).touch()
        return bundle

    def path(self, name: str) -> Path:
        """Return a bundle's directory as the tests see it."""
        return self.machine.root / f"{_DIRECTORY}/{name}".lstrip("/")

    def try_start(self, name: str) -> "CompletedProcess[str]":
        """Start a container that may not come up."""
        command = f"exec runc run --detach --bundle {_DIRECTORY}/{name} {name} >/run/bundles/{name}/log 2>&1"
        # What runc leaves running would hold a pipe open.
        done = self.machine.try_run("sh", "-c", command)
        done.stdout = (self.path(name) / "log").read_text()
        return done

    def start(self, name: str) -> None:
        """Start a container."""
        done = self.try_start(name)
        assert done.returncode == 0, done.stdout

    def state(self, name: str) -> Any:
        """Return what runc says about a container."""
        return json.loads(self.machine.run("runc", "state", name))

    def run(self, name: str, *argv: str) -> str:
        """Run a program in a container."""
        return self.machine.run("runc", "exec", name, *argv)

    def addresses(self, name: str) -> dict[str, list[str]]:
        """Return the addresses of a container's links, without those that are link-local."""
        links = json.loads(self.machine.run("nsenter", f"--net={self.netns(name)}", "ip", "-json", "addr"))
        return {
            link["ifname"]: [a["local"] for a in link["addr_info"] if a["scope"] != "link"] for link in links
        }

    def netns(self, name: str) -> str:
        """Return the path of a container's network namespace."""
        return f"/proc/{self.state(name)['pid']}/ns/net"

    def remove(self, name: str) -> None:
        """Kill a container and delete it."""
        self.machine.run("runc", "delete", "--force", name)
