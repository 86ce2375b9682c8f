"""What an overlay costs: hosts that come and go, a thousand at once, packets; `run.sh --overlay` calls it.

Two hosts have agents, with etcd on the first one; further ones are only in etcd. Times and memory are
absolute figures, of the machine that they were taken on. Packets are compared with those through a VXLAN
device made by hand, between the same containers, in turns.
"""

import argparse
import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from signal import SIGTERM
from statistics import median
from subprocess import DEVNULL, Popen
from time import perf_counter, sleep

from bench.namespace import Namespace
from bench.process import Failed, run
from shibafu.netlink.route import route_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.overlay.config import EtcdAccess
from shibafu.overlay.etcd import EtcdClient, encode_value
from shibafu.overlay.etcd_failures import EtcdUnavailableError
from shibafu.overlay.peer_entries import RTPROT_SHIBAFU

_ETCD = "http://192.0.2.1:2379"
_NETWORK = {
    "Network": "10.40.0.0/13",
    "EnableIPv6": True,
    "IPv6Network": "fd42::/48",
    "Backend": {"Type": "vxlan"},
}
_PREFIX = "/coreos.com/network"
# etcd takes 128 operations in one request.
_AT_ONCE = 100
_PATIENCE = 20.0
_HAND_VNI = 99


class _Host:
    """A host on the link, with an agent and a container.

    Args:
        number: 1 or 2.
        build: the folder of the executables.
        work: a directory for its files.
        stack: ends what it starts.
    """

    def __init__(self, number: int, build: Path, work: Path, stack: ExitStack) -> None:
        self._build = build
        self._work = work
        self._stack = stack
        self.number = number
        self.namespace = stack.enter_context(Namespace(f"host{number}"))
        self.container = stack.enter_context(Namespace(f"container{number}"))
        self._subnet_file = work / f"{number}.env"
        self._config = work / f"{number}.yaml"
        network = {"name": f"host{number}", "endpoints": [_ETCD], "iface": "eth0"}
        network["subnetFile"] = str(self._subnet_file)
        self._config.write_text(json.dumps({"networks": [network]}))
        self._agent: Popen[bytes] | None = None

    def connect(self) -> None:
        """Connect it with the link."""
        link = f"ip link add to{self.number} master switch up type veth peer eth0 netns {self.namespace.name}"
        _run(link)
        for line in (
            f"ip address add 192.0.2.{self.number}/24 dev eth0",
            f"ip address add 2001:db8::{self.number}/64 dev eth0 nodad",
            "ip link set eth0 up",
            "ip link set lo up",
        ):
            self.run(line)

    def run(self, line: str) -> str:
        """Run a command there, and return what it prints."""
        with self.namespace.inside():
            return _run(line)

    def start(self) -> None:
        """Start its agent, and wait until it has a subnet."""
        command = [str(self._build / "shibafu"), "overlay", "run", "--config", str(self._config)]
        with self.namespace.inside():
            self._agent = Popen(command, stdout=DEVNULL, stderr=DEVNULL)  # noqa: S603
        self._stack.callback(self.stop)
        _wait(self._subnet_file.exists, "no subnet")

    def stop(self) -> None:
        """End its agent; what the kernel has stays."""
        if self._agent is not None:
            self._agent.send_signal(SIGTERM)
            self._agent.wait()
            self._agent = None

    def read_memory(self) -> float:
        """Return the resident set of its agent, in MiB."""
        if self._agent is None:
            raise Failed("the agent does not run")
        lines = Path(f"/proc/{self._agent.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

    def count_routes(self) -> int:
        """Return how many routes it has to other hosts, of both families."""
        with self.namespace.inside(), NetlinkSocket() as sock:
            return sum(route.protocol == RTPROT_SHIBAFU for route in route_list(sock))

    def attach(self) -> str:
        """Attach its container; return the IPv4 address."""
        config = {
            "cniVersion": "1.0.0",
            "name": "overlay",
            "type": "shibafu-overlay",
            "subnetFile": str(self._subnet_file),
            "dataDir": str(self._work / f"{self.number}-sent"),
            "delegate": {"isDefaultGateway": True},
            "ipam": {"dataDir": str(self._work / f"{self.number}-leases")},
        }
        env = {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": f"bench{self.number}",
            "CNI_NETNS": self.container.path,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self._build),
            "PATH": os.environ["PATH"],
        }
        with self.namespace.inside():
            added = run([str(self._build / "shibafu-overlay")], env, json.dumps(config).encode())
        address: str = json.loads(added.output)["ips"][0]["address"]
        return address.partition("/")[0]

    def find_subnet(self) -> str:
        """Return its IPv4 subnet."""
        lines = dict(line.split("=", 1) for line in self._subnet_file.read_text().splitlines())
        return lines["FLANNEL_SUBNET"].replace(".1/", ".0/")

    def make_by_hand(self, other: "_Host") -> None:
        """Make another VXLAN device, as the agent's is."""
        for line in (
            f"ip link add hand address 02:00:00:00:99:0{self.number} mtu 1450 type vxlan id {_HAND_VNI} "
            f"local 192.0.2.{self.number} dev eth0 dstport 8472 nolearning",
            f"ip address add 198.18.0.{self.number}/32 dev hand",
            "ip link set hand up",
            f"ip neighbour add 198.18.0.{other.number} dev hand nud permanent "
            f"lladdr 02:00:00:00:99:0{other.number}",
            f"bridge fdb add 02:00:00:00:99:0{other.number} dev hand dst 192.0.2.{other.number}",
        ):
            self.run(line)

    def use(self, device: str, other: "_Host") -> None:
        """Have packets to another host's containers take a device: flannel.1 or hand."""
        subnet = other.find_subnet()
        via = f"198.18.0.{other.number}" if device == "hand" else subnet.partition("/")[0]
        self.run(f"ip route replace {subnet} via {via} dev {device} onlink")


class _Store:
    """etcd on the first host, and hosts that are only in it."""

    def __init__(self, host: _Host, work: Path, stack: ExitStack) -> None:
        peer = "http://127.0.0.1:2380"
        command = ["etcd", "--name", "bench", "--data-dir", str(work / "etcd"), "--listen-client-urls", _ETCD]
        command += ["--advertise-client-urls", _ETCD, "--listen-peer-urls", peer]
        command += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"bench={peer}"]
        with host.namespace.inside():
            process = Popen(command, stdout=DEVNULL, stderr=DEVNULL)  # noqa: S603
        stack.callback(process.wait)
        stack.callback(process.kill)
        self._host = host
        self._client = EtcdClient(EtcdAccess((_ETCD,)))
        _wait(lambda: self._put([(f"{_PREFIX}/config", json.dumps(_NETWORK))]), "etcd does not answer")

    def add_hosts(self, numbers: range) -> None:
        """Have hosts join."""
        keys = [_calc_host(number) for number in numbers]
        for begin in range(0, len(keys), _AT_ONCE):
            self._put(keys[begin : begin + _AT_ONCE])

    def remove_host(self, number: int) -> None:
        """Have one leave."""
        with self._host.namespace.inside():
            self._client.delete(_calc_host(number)[0])

    def _put(self, pairs: list[tuple[str, str]]) -> bool:
        puts = [
            {"request_put": {"key": encode_value(key), "value": encode_value(value)}} for key, value in pairs
        ]
        try:
            with self._host.namespace.inside():
                return self._client.transact([], puts)
        except EtcdUnavailableError:
            return False  # not yet


def _calc_host(number: int) -> tuple[str, str]:
    """Return the key and the value of a dual-stack host."""
    high, low = divmod(number, 256)
    vtep = {"VNI": 1, "VtepMAC": f"02:00:00:00:{high:02x}:{low:02x}"}
    value = {
        "PublicIP": f"198.51.{100 + high}.{low}",
        "PublicIPv6": f"2001:db8:1::{number:x}",
        "BackendType": "vxlan",
        "BackendData": vtep,
        "BackendV6Data": vtep,
    }
    # Not among the first hundred, of which agents choose theirs.
    key = f"{_PREFIX}/subnets/10.{40 + (number + 256) // 256}.{low}.0-24&fd42:0:0:{number + 0x1000:x}::-64"
    return key, json.dumps(value)


def _measure_latency(host: _Host, store: _Store, turns: int) -> None:
    """Measure from a change in etcd until the kernel has, or has not, the routes."""
    before = host.count_routes()
    joined, left = [], []
    for number in range(turns):
        began = perf_counter()
        store.add_hosts(range(number, number + 1))
        _wait(lambda: host.count_routes() == before + 2, "a host that joins is not seen")
        joined.append((perf_counter() - began) * 1000)
        began = perf_counter()
        store.remove_host(number)
        _wait(lambda: host.count_routes() == before, "a host that leaves is not seen")
        left.append((perf_counter() - began) * 1000)
    for what, times in (("joins", joined), ("leaves", left)):
        print(f"a host {what}: median {median(times):.0f} ms, at most {max(times):.0f} ms, of {turns}")


def _measure_crowd(host: _Host, store: _Store, count: int) -> None:
    before, memory = host.count_routes(), host.read_memory()
    began = perf_counter()
    store.add_hosts(range(count))
    _wait(lambda: host.count_routes() == before + 2 * count, "not all hosts are seen")
    took = perf_counter() - began
    grown = f"the agent has grown from {memory:.0f} to {host.read_memory():.0f} MiB"
    print(f"{count} dual-stack hosts appear in {took:.1f} s; {grown}")


def _measure_traffic(one: _Host, two: _Host, turns: int) -> None:
    one.attach()
    address = two.attach()
    for host in (one, two):
        host.stop()  # it would put its routes back
    one.make_by_hand(two)
    two.make_by_hand(one)
    with two.container.inside():
        server = Popen(["iperf3", "--server"], stdout=DEVNULL)  # noqa: S607
    try:
        sleep(0.5)
        speeds: dict[str, list[float]] = {"flannel.1": [], "hand": []}
        for _ in range(turns):
            for device, measured in speeds.items():
                one.use(device, two)
                two.use(device, one)
                with one.container.inside():
                    said = _run(f"iperf3 --client {address} --time 2 --json")
                measured.append(json.loads(said)["end"]["sum_received"]["bits_per_second"] / 1e9)
    finally:
        server.kill()
        server.wait()
    ours, theirs = (median(measured) for measured in speeds.values())
    ratio = f"{ours / theirs:.2f} of it"
    print(f"iperf3 from container to container: by hand {theirs:.2f}, overlay {ours:.2f} Gbit/s: {ratio}")


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = perf_counter() + _PATIENCE
    while not condition():
        if perf_counter() > deadline:
            raise Failed(what)
        sleep(0.001)


def _run(line: str) -> str:
    program, *arguments = line.split()
    return run(["/usr/bin/env", program, *arguments]).output.decode()


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(prog="run.sh --overlay", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--turns", type=int, default=20, help="how many hosts join and leave (20)")
    parser.add_argument("--hosts", type=int, default=1000, help="how many appear at once (1000)")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        _run("ip link add switch up type bridge")
        one, two = (
            _Host(number, arguments.root / "dist" / "shibafu", arguments.work, stack) for number in (1, 2)
        )
        for host in (one, two):
            host.connect()
        store = _Store(one, arguments.work, stack)
        for host in (one, two):
            host.start()
        _wait(lambda: one.count_routes() == two.count_routes() == 2, "the hosts do not see each other")
        _measure_latency(one, store, arguments.turns)
        _measure_crowd(one, store, arguments.hosts)
        _measure_traffic(one, two, max(3, arguments.turns // 4))


if __name__ == "__main__":
    main()
