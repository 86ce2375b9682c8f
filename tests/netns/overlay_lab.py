"""Hosts on one link, each a namespace with an agent of its own, and etcd on the first of them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import shibafu
import shibafu_ipam
from shibafu.netlink.route import route_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.overlay.etcd import EtcdClient, encode_value
from shibafu.overlay.peer_entries import RTPROT_SHIBAFU
from support.etcd import EtcdServer
from support.namespaces import Namespace
from support.schemas import validated

_ROOTS = [str(Path(package.__path__[0]).parent) for package in (shibafu, shibafu_ipam)]
_STATES = Path("/run/shibafu/overlay")
SUBNETS = "/coreos.com/network/subnets"
NETWORK = {"Network": "10.42.0.0/16", "Backend": {"Type": "vxlan"}}
DUAL_STACK = NETWORK | {"EnableIPv6": True, "IPv6Network": "fd42::/48"}


def wait_until(condition: Callable[[], bool], what: str, patience: float = 60.0) -> float:
    """Wait until a condition holds; return how many seconds that has taken."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < patience, what
        time.sleep(0.01)
    return time.monotonic() - began


def run_command(namespace: Namespace, *words: str) -> tuple[int, str]:
    """Run `shibafu overlay` in a namespace; return its exit code and what it prints."""
    done = subprocess.run(
        [
            *("ip", "netns", "exec", namespace.name, sys.executable, "-m", "shibafu.cli"),
            *("overlay", *words),
        ],
        env=os.environ | {"PYTHONPATH": ":".join(_ROOTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def calc_host(number: int) -> tuple[str, str]:
    """Return the key and the value of a host that is not there, of the network 10.40.0.0/14 and fd42::/48."""
    subnet = f"10.{40 + number // 256}.{number % 256}.0-24"
    vtep = {"VNI": 1, "VtepMAC": f"02:00:00:00:{number // 256:02x}:{number % 256:02x}"}
    value = {
        "PublicIP": f"192.168.{100 + number // 256}.{number % 256}",
        "PublicIPv6": f"fd77::1:{number:x}",
        "BackendType": "vxlan",
        "BackendData": vtep,
        "BackendV6Data": vtep,
    }
    return f"{SUBNETS}/{subnet}&fd42:0:0:{number + 0x1000:x}::-64", json.dumps(value)


class OverlayHost:
    """A host.

    Args:
        lab: where it is.
        number: its own.
        keys: further ones of its network, in the agent's configuration.
    """

    def __init__(self, lab: "OverlayLab", number: int, **keys: object) -> None:
        self.namespace = Namespace(f"host{number}")
        self.number = number
        self.address, self.address6 = f"192.168.77.{number}", f"fd77::{number}"
        self.name = f"{lab.name}-{number}"
        self.subnet_file = lab.directory / f"{number}.env"
        self.config = lab.directory / f"{number}.yaml"
        self._log = lab.directory / f"{number}.log"
        lab.switch.run(
            *("ip", "link", "add", f"port{number}", "master", "switch", "up", "type", "veth"),
            *("peer", "name", "eth0", "netns", self.namespace.name),
        )
        run = self.namespace.run
        run("ip", "link", "set", "eth0", "up")
        run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        run("ip", "address", "add", f"{self.address6}/64", "dev", "eth0", "nodad")
        run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        network = {
            "name": self.name,
            "endpoints": lab.urls,
            "iface": "eth0",
            "subnetFile": str(self.subnet_file),
        } | keys
        self.config.write_text(json.dumps({"networks": [network]}))
        self.agent: subprocess.Popen[bytes] | None = None
        self.containers: list[Namespace] = []

    def configure(self, **keys: object) -> None:
        """Change keys of its network in the agent's configuration, which an agent reads when it starts."""
        (network,) = json.loads(self.config.read_text())["networks"]
        self.config.write_text(json.dumps({"networks": [network | keys]}))

    def start(self, *tracer: str) -> None:
        """Start its agent, perhaps by a program that traces it."""
        with self._log.open("ab") as log:
            self.agent = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self.namespace.name, *tracer),
                    *(sys.executable, "-m", "shibafu.cli", "overlay", "run", "--config", self.config),
                    *("--metrics", self.config.with_suffix(".prom")),
                ],
                env=os.environ | {"PYTHONPATH": ":".join(_ROOTS)},
                stdout=log,
                stderr=log,
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End its agent; return the exit code."""
        assert self.agent is not None
        self.agent.send_signal(number)
        status = self.agent.wait(timeout=10)
        self.agent = None
        return status

    def close(self) -> None:
        """Remove everything."""
        if self.agent is not None:
            self.agent.kill()
            self.agent.wait()
        for container in self.containers:
            container.delete()
        self.namespace.delete()
        # Perhaps with what it was writing when it was killed.
        for path in _STATES.glob(f"{self.name}*"):
            path.unlink()

    def command(self, *words: str, status: int | None = 0) -> str:
        """Run `shibafu overlay`, which may end in any way if `status` is None, and return what it prints."""
        returned, said = run_command(self.namespace, *words, "--config", str(self.config))
        assert status in (returned, None), said
        return said

    def diagnose(self) -> dict[str, str]:
        """Return what `shibafu overlay doctor` says is wrong, by what it has looked at."""
        said = self.command("doctor", "--format", "json", status=None)
        findings = validated("overlay doctor", json.loads(said))
        troubles = {one["check"]: one["trouble"] for one in findings if one["trouble"]}
        self.command("doctor", status=int(bool(troubles)))
        return troubles

    def read_log(self) -> str:
        """Return what its agent has said."""
        return self._log.read_text() if self._log.exists() else ""

    def read_state(self) -> dict[str, Any]:
        """Return what its agent has written."""
        path = _STATES / f"{self.name}.json"
        state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return state

    def read_subnet(self, key: str = "FLANNEL_SUBNET") -> str:
        """Return a value of its subnet file; empty for none."""
        try:
            lines = self.subnet_file.read_text().splitlines()
        except FileNotFoundError:
            return ""
        return dict(line.split("=", 1) for line in lines).get(key, "")

    def list_entries(self) -> set[str]:
        """Return what ip(8) and bridge(8) show of its devices, without the devices' numbers."""
        return {
            " ".join(line.split())
            for device in ("flannel.1", "flannel-v6.1")
            for command in (
                ("ip", "route", "show", "dev", device),
                ("ip", "-6", "route", "show", "dev", device, "proto", "91"),
                ("ip", "neighbour", "show", "dev", device, "nud", "permanent"),
                ("bridge", "fdb", "show", "dev", device),
            )
            for line in self._try(*command).splitlines()
        }

    def _try(self, *argv: str) -> str:
        try:
            return self.namespace.run(*argv)
        except AssertionError:
            return ""  # there is no such device

    @contextmanager
    def monitor(self) -> Iterator[IO[str]]:
        """Note what the kernel announces of links, addresses and routes; see ip-monitor(8)."""
        path = self._log.with_suffix(".monitor")
        with path.open("w") as out:
            command = [
                "ip",
                "netns",
                "exec",
                self.namespace.name,
                "ip",
                "monitor",
                "link",
                "address",
                "route",
            ]
            process = subprocess.Popen(command, stdout=out)
            time.sleep(0.2)
            with path.open() as announced:
                yield announced
                time.sleep(0.1)
                process.kill()
                process.wait()

    def routes_to(self, other: "OverlayHost") -> bool:
        """Return whether it has a route to another host's subnet."""
        subnet = other.read_subnet().replace(".1/", ".0/")
        return bool(subnet) and any(line.startswith(f"{subnet} via ") for line in self.list_entries())

    def has_route(self, subnet: str) -> bool:
        """Return whether it has a route to a subnet, which is given without the prefix's length."""
        return any(entry.startswith(f"{subnet}/24 via") for entry in self.list_entries())

    def count_routes(self) -> int:
        """Return how many routes it has to other hosts, of both families."""
        with self.namespace.enter(), NetlinkSocket() as sock:
            return sum(route.protocol == RTPROT_SHIBAFU for route in route_list(sock))

    def find_agent(self) -> int:
        """Return the number of its agent's process."""
        assert self.agent is not None
        return self.agent.pid  # ip(8) has become it

    def attach(self) -> Namespace:
        """Return a container of the host's subnet, with the second address of it."""
        container = Namespace(f"container{self.number}")
        self.containers.append(container)
        run = self.namespace.run
        run(
            "ip", "link", "add", "cni0", "up", "type", "veth", "peer", "name", "eth0", "netns", container.name
        )
        container.run("ip", "link", "set", "eth0", "up")
        mtu = self.read_subnet("FLANNEL_MTU")
        container.run("ip", "link", "set", "eth0", "mtu", mtu)
        for key in ("FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"):
            gateway, _, length = self.read_subnet(key).partition("/")
            if gateway:
                run("ip", "address", "add", f"{gateway}/{length}", "dev", "cni0", "nodad")
                container.run("ip", "address", "add", f"{gateway[:-1]}2/{length}", "dev", "eth0", "nodad")
                container.run("ip", "route", "add", "default", "via", gateway)
        return container

    def calc_container(self, key: str = "FLANNEL_SUBNET") -> str:
        """Return the address of its container."""
        return self.read_subnet(key).partition("/")[0][:-1] + "2"


class OverlayLab:
    """A link with hosts, and etcd on the first ones.

    Args:
        directory: for their files.
        hosts: how many.
        network: its description in etcd.
        members: how many of the hosts have a member of etcd.
        keys: further ones of each host's configuration.
    """

    def __init__(
        self,
        directory: Path,
        hosts: int = 3,
        network: dict[str, Any] | None = None,
        members: int = 1,
        **keys: object,
    ) -> None:
        self.directory = directory
        self.name = f"t{os.getpid()}"
        self.urls = [f"http://192.168.77.{11 + number}:2379" for number in range(members)]
        self.switch = Namespace("switch")
        self.switch.run("ip", "link", "add", "switch", "up", "type", "bridge")
        self.hosts = [OverlayHost(self, 11 + number, **keys) for number in range(hosts)]
        self.members = self._start_members(members)
        self.etcd.ctl("put", "/coreos.com/network/config", json.dumps(network or NETWORK))

    def __enter__(self) -> "OverlayLab":
        return self

    def __exit__(self, *exception: object) -> None:
        for host in self.hosts:
            sys.stdout.write(f"--- host {host.number}\n{host.read_log()}")
            host.close()
        for member in self.members:
            member.__exit__()
        self.switch.delete()

    @property
    def etcd(self) -> EtcdServer:
        """The first member."""
        return self.members[0]

    def _start_members(self, count: int) -> list[EtcdServer]:
        if count == 1:
            return [EtcdServer(self.hosts[0].namespace)]
        hosts = self.hosts[:count]
        peers = [(host.name, f"http://{host.address}:2380") for host in hosts]
        members = [
            EtcdServer(host.namespace, peers=dict(peers[number:] + peers[:number]))
            for number, host in enumerate(hosts)
        ]
        for member in members:
            member.wait_until_serving()
        return members

    def start(self) -> None:
        """Start all agents, and wait until each host has routes to all others."""
        for host in self.hosts:
            host.start()
        self.wait_until_joined()

    def wait_until_joined(self) -> None:
        """Wait until each host has routes to all others."""
        for host in self.hosts:
            for other in self.hosts:
                if host is not other:
                    wait_until(lambda: host.routes_to(other), f"{host.name} to {other.name}")  # noqa: B023

    def join_by_hand(self, subnet: str, address: str = "192.168.77.99", member: int = 0) -> None:
        """Have another host join, as flannel would, at a member of etcd."""
        value = {
            "PublicIP": address,
            "PublicIPv6": None,
            "BackendType": "vxlan",
            "BackendData": {"VNI": 1, "VtepMAC": "de:11:0a:27:15:d9"},
        }
        self.members[member].ctl("put", f"{SUBNETS}/{subnet}-24", json.dumps(value))

    def put_hosts(self, numbers: range) -> None:
        """Have hosts join that are not there, all at once; etcd takes 128 operations in one request."""
        puts = []
        for number in numbers:
            key, value = calc_host(number)
            puts.append({"request_put": {"key": encode_value(key), "value": encode_value(value)}})
        with self.hosts[0].namespace.enter():
            client = EtcdClient(self.etcd.access)
            for begin in range(0, len(puts), 100):
                client.transact([], puts[begin : begin + 100])

    def remove_host(self, number: int) -> None:
        """Have a host leave that is not there."""
        with self.hosts[0].namespace.enter():
            assert EtcdClient(self.etcd.access).delete(calc_host(number)[0])

    def list_keys(self) -> dict[str, str]:
        """Return what etcd has of the hosts."""
        with self.hosts[0].namespace.enter():
            values = EtcdClient(self.etcd.access).list_prefix(f"{SUBNETS}/").values
        return {value.key.rpartition("/")[2]: value.value.decode() for value in values}


# Two hosts that have joined, and the container of the first one, which reaches that of the second one.
Pair = tuple[OverlayHost, OverlayHost, Namespace]
