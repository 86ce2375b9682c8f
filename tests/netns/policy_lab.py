"""Nine containers on two bridges, and which of them reach which; those of x and y share a bridge.

All probes of a step run at the same time, from sockets that this process has inside the containers.
"""

import select
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from shibafu.lean.ip import parse_address
from shibafu.policy.member import Member, MemberPort
from support.namespaces import Namespace
from support.policy_evaluator import Cluster, Document, Workload

if TYPE_CHECKING:
    from netns.policy_cases import Step  # which imports this module

PORTS = (80, 81)
PROTOCOLS = ("TCP", "UDP")
_BRIDGES = {"br1": "xy", "br2": "z"}
_KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
# Seconds: for what has to arrive, and for what may not, after all that had to has.
_PATIENCE = 5.0
_GRACE = 0.06
_AGAIN = 0.2
_FIRST_SOURCE_PORT = 20000


class Probe(NamedTuple):
    """A connection, or a datagram and its answer; pods are called as in `x/a`."""

    source: str
    destination: str
    version: int
    protocol: str
    port: int


def list_workloads(
    labels: Mapping[str, Mapping[str, str]] | None = None, port_names: bool = True
) -> list[Workload]:
    """Return the nine pods.

    Args:
        labels: labels of pods in place of `pod: a`.
        port_names: whether their ports have names, such as `serve-80-tcp`.
    """
    names = {(f"serve-{port}-{protocol.lower()}", protocol): port for port in PORTS for protocol in PROTOCOLS}
    found = []
    for subnet, namespaces in enumerate(_BRIDGES.values(), 9):
        for number, (namespace, name) in enumerate((n, p) for n in namespaces for p in "abc"):
            addresses = {4: f"10.{subnet}.0.{number + 11}", 6: f"fd00:{subnet}::{number + 11:x}"}
            own = (labels or {}).get(f"{namespace}/{name}", {"pod": name})
            found.append(Workload(namespace, name, own, addresses, names if port_names else {}))
    return found


def list_probes() -> list[Probe]:
    """Return all that a step tries."""
    pods = [f"{pod.namespace}/{pod.name}" for pod in list_workloads()]
    return [
        Probe(source, destination, version, protocol, port)
        for source in pods
        for destination in pods
        for version in _FAMILIES
        for protocol in PROTOCOLS
        for port in PORTS
    ]


def calc_expected(cluster: Cluster) -> set[Probe]:
    """Return the probes between pods of the cluster that the policies allow."""
    pods = {f"{pod.namespace}/{pod.name}": pod for pod in cluster.pods}
    return {
        probe
        for probe in list_probes()
        if {probe.source, probe.destination} <= pods.keys()
        and cluster.allows(pods[probe.source], pods[probe.destination], *probe[2:])
    }


def make_member(pod: Workload) -> Member:
    """Return a pod as the product sees it."""
    ports = [MemberPort(name, protocol, port) for (name, protocol), port in pod.port_names.items()]
    addresses = [parse_address(address) for address in pod.addresses.values()]
    return Member(pod.namespace, pod.labels, addresses, ports)


def make_namespaces(namespaces: Mapping[str, Mapping[str, str]]) -> list[Document]:
    """Return documents that declare namespaces and their labels."""
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}
        for name, labels in namespaces.items()
    ]


class PolicyLab:
    """The containers and the host, to be closed by `with`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.host = self._stack.enter_context(Namespace("host"))
        self._pods = {f"{pod.namespace}/{pod.name}": pod for pod in list_workloads()}
        self._containers: dict[str, Namespace] = {}
        self._listening: dict[int, socket.socket] = {}
        self._poll = select.epoll()
        self._stack.callback(self._poll.close)
        self._round = 0
        self._connect_host()
        for name, pod in self._pods.items():
            self._containers[name] = self._stack.enter_context(Namespace(f"pod-{name.replace('/', '')}"))
            self._attach(name, pod)
        for name in self._pods:
            self._listen(name)
        # Until a worker of the kernel has noticed each carrier, packets are lost.
        assert self.probe(list_probes()) == set(list_probes())

    def __enter__(self) -> "PolicyLab":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._listening.values():
            one.close()
        self._stack.close()

    def _connect_host(self) -> None:
        for subnet, bridge in enumerate(_BRIDGES, 9):
            self.host.run("ip", "link", "add", bridge, "type", "bridge", "forward_delay", "0")
            bridged = ("nf_call_iptables", "1", "nf_call_ip6tables", "1")
            self.host.run("ip", "link", "set", bridge, "up", "type", "bridge", *bridged)
            self.host.run("ip", "addr", "add", f"10.{subnet}.0.1/24", "dev", bridge)
            self.host.run("ip", "addr", "add", f"fd00:{subnet}::1/64", "dev", bridge, "nodad")
        with self.host.enter():
            for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                with open(f"/proc/sys/net/{name}", "w") as file:
                    file.write("1")

    def _attach(self, name: str, pod: Workload) -> None:
        container, port = self._containers[name], f"v{name.replace('/', '')}"
        bridge = next(bridge for bridge, namespaces in _BRIDGES.items() if pod.namespace in namespaces)
        peer = ("peer", "name", "eth0", "netns", container.name)
        self.host.run("ip", "link", "add", port, "master", bridge, "type", "veth", *peer)
        self.host.run("ip", "link", "set", port, "up")
        container.run("ip", "link", "set", "eth0", "up")
        for version, address in pod.addresses.items():
            length, flags = ("24", []) if version == 4 else ("64", ["nodad"])
            container.run("ip", "addr", "add", f"{address}/{length}", "dev", "eth0", *flags)
            gateway = (
                address.rpartition(".")[0] + ".1" if version == 4 else f"{address.partition('::')[0]}::1"
            )
            container.run("ip", f"-{version}", "route", "add", "default", "via", gateway)

    def _listen(self, name: str) -> None:
        with self._containers[name].enter():
            for version, family in _FAMILIES.items():
                for protocol, kind in _KINDS.items():
                    for port in PORTS:
                        opened = socket.socket(family, kind)
                        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        opened.bind((self._pods[name].addresses[version], port))
                        if protocol == "TCP":
                            opened.listen(64)
                        opened.setblocking(False)
                        self._listening[opened.fileno()] = opened
                        self._poll.register(opened, select.EPOLLIN)

    def address(self, name: str) -> str:
        """Return a pod's address of IPv4."""
        return self._pods[name].addresses[4]

    def open_socket(self, name: str, port: int = 0) -> socket.socket:
        """Return a socket for datagrams in a pod, on a port of its IPv4 address."""
        with self._containers[name].enter():
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind((self.address(name), port))
        return opened

    def probe(self, expected: Iterable[Probe]) -> set[Probe]:
        """Return which of all probes arrive.

        Args:
            expected: those for which to wait.
        """
        self._round += 1
        with _Round(self._pods, self._containers, self._poll, _FIRST_SOURCE_PORT + self._round) as attempt:
            wanted = set(expected)
            deadline = time.monotonic() + _PATIENCE
            again = time.monotonic() + _AGAIN
            while not wanted <= attempt.arrived and time.monotonic() < deadline:
                self._work(attempt)
                if time.monotonic() > again:
                    attempt.send(wanted - attempt.arrived)
                    again = time.monotonic() + _AGAIN
            deadline = time.monotonic() + _GRACE
            while time.monotonic() < deadline:
                self._work(attempt)
            return attempt.arrived

    def assert_conforms(self, step: "Step") -> None:
        """Compare what arrives with what the policies of a step allow, which are in force."""
        expected = calc_expected(step.make_cluster())
        # What is no pod of the cluster is not subject to its policies, which may be about its address.
        arrived = {
            probe for probe in self.probe(expected) if not step.absent & {probe.source, probe.destination}
        }
        assert {"lost": expected - arrived, "let through": arrived - expected} == {
            "lost": set(),
            "let through": set(),
        }

    def _work(self, attempt: "_Round") -> None:
        for descriptor, _ in self._poll.poll(0.01):
            server = self._listening.get(descriptor)
            if server is None:
                attempt.note(descriptor)
            elif server.type == socket.SOCK_STREAM:
                with suppress(BlockingIOError):
                    server.accept()[0].close()
            else:
                with suppress(BlockingIOError):
                    while True:
                        data, source = server.recvfrom(64)
                        server.sendto(data, source)


class _Round:
    """The clients of one step.

    Datagrams have a source port that no earlier step has used: connection tracking remembers what it allowed.
    """

    def __init__(
        self,
        pods: Mapping[str, Workload],
        containers: Mapping[str, Namespace],
        poll: select.epoll,
        source_port: int,
    ) -> None:
        self.arrived: set[Probe] = set()
        self._poll = poll
        self._pods = pods
        self._connecting: dict[int, tuple[socket.socket, Probe]] = {}
        self._talking: dict[int, socket.socket] = {}
        self._talkers: dict[tuple[str, int], socket.socket] = {}
        self._probes = list_probes()
        self._numbers = {probe: number for number, probe in enumerate(self._probes)}
        for name, container in containers.items():
            with container.enter():
                self._open(name, source_port)
        self.send(self._probes)

    def _open(self, name: str, source_port: int) -> None:
        for version, family in _FAMILIES.items():
            talker = socket.socket(family, socket.SOCK_DGRAM)
            talker.bind((self._pods[name].addresses[version], source_port))
            talker.setblocking(False)
            self._talkers[name, version] = self._talking[talker.fileno()] = talker
            self._poll.register(talker, select.EPOLLIN)
        for probe in list_probes():
            if probe.source == name and probe.protocol == "TCP":
                caller = socket.socket(_FAMILIES[probe.version], socket.SOCK_STREAM)
                # Closed without waiting for the other side.
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                caller.setblocking(False)
                caller.connect_ex((self._pods[probe.destination].addresses[probe.version], probe.port))
                self._connecting[caller.fileno()] = (caller, probe)
                self._poll.register(caller, select.EPOLLOUT)

    def send(self, probes: Iterable[Probe]) -> None:
        """Send the datagrams among probes, once more where they were sent."""
        for probe in probes:
            if probe.protocol == "UDP":
                address = self._pods[probe.destination].addresses[probe.version], probe.port
                data = str(self._numbers[probe]).encode()
                with suppress(OSError):  # the neighbour was not found
                    self._talkers[probe.source, probe.version].sendto(data, address)

    def note(self, descriptor: int) -> None:
        """Take what has happened to one of the sockets."""
        if descriptor in self._talking:
            with suppress(OSError):
                while True:
                    self.arrived.add(self._probes[int(self._talking[descriptor].recv(64))])
        elif descriptor in self._connecting:
            caller, probe = self._connecting.pop(descriptor)
            if caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                self.arrived.add(probe)
            self._poll.unregister(caller)
            caller.close()

    def __enter__(self) -> "_Round":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for caller in (*self._talking.values(), *(caller for caller, _ in self._connecting.values())):
            self._poll.unregister(caller)
            caller.close()
