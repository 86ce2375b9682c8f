"""A container for shibafu-tuning: its interface, calls, and what they change."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path
from typing import Any

from support.namespaces import Namespace
from support.waiting import wait_for

MAC, OTHER_MAC = "02:00:00:00:00:05", "02:00:00:00:00:06"
# What the interface and its peer have before.
FIRST_MAC, PEER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
# Attributes that the reference can change, too.
CHANGES = {"mac": MAC, "mtu": 1400, "promisc": True, "allmulti": True}

Config = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a plugin answered: its exit status, what it printed, and what it logged."""

    status: int
    json: Any
    stderr: str

    @property
    def error(self) -> str:
        """The error's sentence; empty without one."""
        return str(self.json["msg"]) if self.status else ""


def connect(container: Namespace, peer: Namespace) -> None:
    """Give a container an interface, whose other end is in the peer's namespace."""
    end = ("address", FIRST_MAC, "mtu", "1500", "type", "veth", "peer", "name", "eth0", "address", PEER_MAC)
    container.run("ip", "link", "add", "eth0", *end, "netns", peer.name)
    for namespace, host in ((container, 2), (peer, 1)):
        namespace.run("ip", "address", "add", f"10.9.0.{host}/24", "dev", "eth0")
        namespace.run("ip", "link", "set", "eth0", "up")
    wait_for(lambda: all("state UP" in end.run("ip", "link", "show", "eth0") for end in (container, peer)))


def describe_result(netns: str) -> Config:
    """Return what plugins that have made this interface would have answered."""
    interfaces = [
        {"name": "cni0", "mac": "02:00:00:00:00:03"},
        {"name": "eth0", "mac": FIRST_MAC, "sandbox": netns},
    ]
    ips = [{"interface": 1, "address": "10.9.0.2/24", "gateway": "10.9.0.1"}]
    routes = [{"dst": "0.0.0.0/0"}]
    return {"cniVersion": "1.0.0", "interfaces": interfaces, "ips": ips, "routes": routes, "dns": {}}


class Container:
    """A container with an interface that plugins of a chain have made, and where files tell of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.netns = Namespace("container")
        self.peer = Namespace("peer")
        connect(self.netns, self.peer)

    def close(self) -> None:
        self.netns.delete()
        self.peer.delete()

    @property
    def result(self) -> Config:
        """What the plugins before have answered."""
        return describe_result(self.netns.path)

    @property
    def files(self) -> list[str]:
        """The names of the files that tell what interfaces were like."""
        return sorted(os.listdir(self.directory)) if self.directory.exists() else []

    def call(self, plugin: Path, verb: str, config: Mapping[str, Any], args: str = "", **env: str) -> Answer:
        """Make a call; `prevResult` is what the plugins before have answered, unless `config` says more."""
        document: Config = {"cniVersion": "1.0.0", "name": "net", "type": "tuning"}
        document |= {"dataDir": str(self.directory), "prevResult": self.result, **config}
        environment = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": "c1",
            "CNI_NETNS": self.netns.path,
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": args,
            "CNI_PATH": str(plugin.parent),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        done = subprocess.run(
            [plugin],
            env=environment | env,
            input=dumps({key: value for key, value in document.items() if value is not None}).encode(),
            capture_output=True,
            check=False,
            timeout=60,
        )
        answer = loads(done.stdout) if done.stdout else None
        return Answer(done.returncode, answer, done.stderr.decode())

    def look(self) -> Config:
        """Return what can be changed of the container."""
        [link] = loads(self.netns.run("ip", "-json", "-details", "link", "show", "eth0"))
        return {
            "mac": link["address"],
            "mtu": link["mtu"],
            "promisc": "PROMISC" in link["flags"],
            "allmulti": "ALLMULTI" in link["flags"],
            "txqlen": link["txqlen"],
            "log_martians": self.read("net.ipv4.conf.eth0.log_martians"),
            "somaxconn": self.read("net.core.somaxconn"),
        }

    def read(self, sysctl: str) -> str:
        return self.netns.run("sysctl", "-n", sysctl).strip()
