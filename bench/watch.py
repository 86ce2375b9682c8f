"""What the watcher heals, how fast, and what it costs; `bench/run.sh --watch` calls it.

There is nothing to compare it with: these are absolute figures, of the machine that they were taken on.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from json import dumps
from pathlib import Path
from statistics import median
from time import monotonic, sleep

from bench.namespace import Namespace, namespaces
from bench.process import Failed, run

_BRIDGE, _GATEWAY, _SUBNET, _OUTSIDE = "br-watch", "10.77.0.1", "10.77.0.0/16", "192.0.2.2"
# Beyond a bridge's uplinks.
_NEIGHBOUR = "10.77.255.254"
_PORT = 9
# Seconds in which an answer comes if it is to come, and in which everything has to be healed.
_ANSWER, _PATIENCE = 0.003, 20.0
# The same fault is healed at once three times; then a new watcher is needed.
_AT_ONCE = 3
_FOREIGN = 1000
# Seconds for a heal's further looks to end, and for what a kernel announces long after containers were made.
_REST, _LONG_REST = 0.5, 30.0
# Seconds for which uplinks are watched at most: there is something to do thirty times in each.
_UPLINK_IDLE = 60.0


@dataclass(frozen=True)
class _Breakage:
    """A command that breaks something; `{port}` is the container's link on the host."""

    title: str
    command: str
    backend: str = "iptables"


_BREAKAGES = (
    _Breakage("ip link del BRIDGE", f"ip link del {_BRIDGE}"),
    _Breakage("ip link set BRIDGE down", f"ip link set {_BRIDGE} down"),
    _Breakage("ip link set VETH nomaster", "ip link set {port} nomaster"),
    _Breakage("ip link set VETH down", "ip link set {port} down"),
    _Breakage("ip addr del GATEWAY", f"ip addr del {_GATEWAY}/16 dev {_BRIDGE}"),
    _Breakage("ip route del SUBNET", f"ip route del {_SUBNET}"),
    _Breakage("sysctl net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=0"),
    _Breakage("nft flush ruleset", "nft flush ruleset"),
    _Breakage("nft flush ruleset, nftables", "nft flush ruleset", "nftables"),
    _Breakage("iptables -t nat -F", "iptables -t nat -F"),
)


class _Site:
    """A host with one network, whose containers are attached as a runtime does it, and a world outside.

    Args:
        build: the folder of the executables.
        work: a directory of its own.
        backend: what makes its rules.
        containers: how many containers it has.
        cables: its uplinks, to a switch of the world outside.
    """

    def __init__(
        self,
        build: Path,
        work: Path,
        backend: str,
        containers: int,
        stack: ExitStack,
        cables: tuple[str, ...] = (),
    ) -> None:
        self._build = build
        self._conf_dir = work / f"net.d-{backend}-{containers}-{len(cables)}"
        self._conf_dir.mkdir()
        ipam = {"type": "shibafu-ipam", "subnet": _SUBNET, "dataDir": str(self._conf_dir / "leases")}
        self._plugin = {
            "type": "shibafu-bridge",
            "bridge": _BRIDGE,
            "isDefaultGateway": True,
            "ipMasq": True,
            "ipMasqBackend": backend,
            "ipam": ipam,
        }
        if cables:
            self._plugin |= {"uplinks": cables, "uplinkProbe": _NEIGHBOUR}
        self._head = {"cniVersion": "1.1.0", "name": "watched"}
        (self._conf_dir / "watched.conflist").write_text(dumps(self._head | {"plugins": [self._plugin]}))
        self.host = stack.enter_context(Namespace("host"))
        self.outside = stack.enter_context(Namespace("outside"))
        self.containers = stack.enter_context(namespaces("container", containers))
        with self.host.inside():
            for line in (
                "sysctl -qw net.ipv4.ip_forward=1",
                f"ip link add uplink type veth peer name uplink netns {self.outside.name}",
                "ip addr add 192.0.2.1/24 dev uplink",
                "ip link set uplink up",
            ):
                _run(line)
        with self.outside.inside():
            for line in (f"ip addr add {_OUTSIDE}/24 dev uplink", "ip link set uplink up"):
                _run(line)
        self._connect(cables)
        with self.outside.inside():
            self._server = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            self._server.bind(("", _PORT))
        for container in self.containers:
            self._attach(container)
        # What a container asks while its link is down is lost, and asked again after a second.
        with self.containers[0].inside():
            Path("/proc/sys/net/ipv4/neigh/eth0/retrans_time_ms").write_text("20")

    def _connect(self, cables: tuple[str, ...]) -> None:
        """Lay cables to a switch, at which somebody answers."""
        if cables:
            with self.outside.inside():
                _run("ip link add switch up type bridge")
                _run(f"ip addr add {_NEIGHBOUR}/16 dev switch")
        for cable in cables:
            with self.host.inside():
                _run(f"ip link add {cable} type veth peer name {cable} netns {self.outside.name}")
            with self.outside.inside():
                _run(f"ip link set {cable} master switch up")

    def list_ports(self) -> set[str]:
        """Return the links on the host that are ports of the bridge; none without one."""
        try:
            found = _run(f"ip -o -n {self.host.name} link show master {_BRIDGE}")
        except Failed:
            return set()
        return {line.split(": ")[1].partition("@")[0] for line in found.splitlines()}

    def can_connect(self) -> bool:
        """Return whether the first container reaches the world outside, by a new connection, and back."""
        with self.containers[0].inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(_ANSWER)
            self._forget_late()
            self._server.settimeout(_ANSWER)
            try:
                client.sendto(b"ask", (_OUTSIDE, _PORT))
                _, asker = self._server.recvfrom(16)
                self._server.sendto(b"answer", asker)
                return client.recv(16) == b"answer"
            except OSError:
                return False

    def _forget_late(self) -> None:
        """Take away what arrived after its time."""
        self._server.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self._server.recv(16)

    @contextmanager
    def watch(self) -> Iterator["_Watcher"]:
        """Run a watcher, from its first look on."""
        with self.host.inside():
            watcher = _Watcher(self._build, self._conf_dir)
        try:
            _wait_for(watcher.is_ready)
            yield watcher
        finally:
            watcher.stop()

    def _attach(self, container: Namespace) -> None:
        env = {
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": container.name,
            "CNI_NETNS": container.path,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self._build),
        }
        with self.host.inside():
            run([str(self._build / "shibafu-bridge")], env, dumps(self._head | self._plugin).encode())


class _Watcher:
    """A process of `shibafu watch run` in the namespace that this one is in."""

    def __init__(self, build: Path, conf_dir: Path) -> None:
        self._log = conf_dir / "watch.log"
        self._status = Path(f"/run/shibafu/watch/{os.stat('/proc/self/ns/net').st_ino}.json")
        self._status.unlink(missing_ok=True)
        argv = [str(build / "shibafu"), "watch", "run", "--conf-dir", str(conf_dir), "--cni-path", str(build)]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603 - our own

    def is_ready(self) -> bool:
        """Return whether it has looked at everything once.

        Raises:
            Failed: it has ended.
        """
        if self._process.poll() is not None:
            raise Failed(self._log.read_text())
        return self._status.exists()

    def count_heals(self) -> int:
        """Return how much it has healed."""
        return self._log.read_text().count("healed")

    def has_healed_more(self, former: int) -> bool:
        """Return whether it has healed anything since."""
        return self.count_heals() > former

    def read_cpu(self) -> float:
        """Return the milliseconds of processor time of it and its children; see proc_pid_stat(5)."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) * 1000 / os.sysconf("SC_CLK_TCK")

    def read_precise_cpu(self) -> float:
        """Return the milliseconds of processor time of its first thread, without children."""
        return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[0]) / 1e6

    def read_memory(self) -> float:
        """Return its memory in MB, with its share of what it has in common with others."""
        lines = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


def _run(line: str) -> str:
    """Run a command in the namespace that this process is in; return what it printed."""
    name, *words = line.split()
    return run([shutil.which(name) or name, *words]).output.decode()


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + _PATIENCE
    while not condition():
        if monotonic() > deadline:
            raise Failed(f"nothing was healed in {_PATIENCE:.0f} seconds")
        sleep(0.002)


def _measure_breakages(build: Path, work: Path, rounds: int) -> None:
    print("\nHow long new connections were interrupted, in milliseconds\n")
    print("| What was done | Median | Longest |\n|---|---|---|")
    everything: list[float] = []
    with ExitStack() as stack:
        sites = {backend: _Site(build, work, backend, 1, stack) for backend in ("iptables", "nftables")}
        for breakage in _BREAKAGES:
            walls = [
                wall
                for first in range(0, rounds, _AT_ONCE)
                for wall in _break(sites[breakage.backend], breakage, min(_AT_ONCE, rounds - first))
            ]
            everything += walls
            print(f"| `{breakage.title}` | {median(walls):.0f} | {max(walls):.0f} |", flush=True)
    print(f"\nOf all {len(everything)}:")
    _report("median", median(everything))
    _report("longest", max(everything))


def _break(site: _Site, breakage: _Breakage, rounds: int) -> list[float]:
    walls = []
    with site.watch() as watcher:
        _wait_for(site.can_connect)
        for _ in range(rounds):
            (port,) = site.list_ports()
            healed = watcher.count_heals()
            with site.host.inside():
                begin = monotonic()
                _run(breakage.command.format(port=port))
            _wait_for(site.can_connect)
            walls.append((monotonic() - begin) * 1000)
            # So that it was broken.
            _wait_for(partial(watcher.has_healed_more, healed))
            sleep(_REST)
    return walls


def _measure_crowd(build: Path, work: Path, containers: int, idle: float) -> None:
    print(f"\nWith {containers} containers:")
    with ExitStack() as stack:
        site = _Site(build, work, "iptables", containers, stack)
        ports = site.list_ports()
        begin = monotonic()
        with site.watch() as watcher:
            _report("start", (monotonic() - begin) * 1000)
            sleep(_LONG_REST)
            before = watcher.read_precise_cpu()
            sleep(idle)
            _report(f"processor time of {idle:.0f} idle seconds", watcher.read_precise_cpu() - before)
            _report("memory", watcher.read_memory(), "MB")
            before = watcher.read_cpu()
            with site.host.inside():
                for number in range(_FOREIGN):
                    _run(f"ip link add foreign{number} type veth peer name reverse{number}")
                    _run(f"ip link del foreign{number}")
            sleep(_REST)
            _report(f"processor time of {_FOREIGN} foreign veth pairs", watcher.read_cpu() - before)
            with site.host.inside():
                begin = monotonic()
                _run(f"ip link del {_BRIDGE}")
            for what, is_there in (
                ("the first port of a deleted bridge", lambda: bool(site.list_ports())),
                ("connections of the first container", site.can_connect),
                ("the last port", lambda: site.list_ports() == ports),
            ):
                _wait_for(is_there)
                _report(what, (monotonic() - begin) * 1000)


def _measure_uplinks(build: Path, work: Path, idle: float) -> None:
    print("\nWith one container, and two uplinks whose carriers are looked at and through which is asked:")
    with ExitStack() as stack:
        site = _Site(build, work, "iptables", 1, stack, ("eth1", "eth2"))
        with site.watch() as watcher:
            sleep(_REST)
            before = watcher.read_precise_cpu()
            sleep(idle)
            used = watcher.read_precise_cpu() - before
            print(f"  processor time: {used / idle / 10:.2f} % of a core", flush=True)


def _report(what: str, value: float, unit: str = "ms") -> None:
    print(f"  {what}: {value:.0f} {unit}", flush=True)


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(prog="run.sh --watch", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=6, help="how often each breakage happens (6)")
    parser.add_argument(
        "--containers", type=int, default=500, help="how many containers a large network has (500)"
    )
    parser.add_argument(
        "--idle", type=float, default=600, metavar="SECONDS", help="how long nothing happens (600)"
    )
    arguments = parser.parse_args()
    build = arguments.root / "dist" / "shibafu"
    _measure_breakages(build, arguments.work, arguments.rounds)
    _measure_uplinks(build, arguments.work, min(arguments.idle, _UPLINK_IDLE))
    _measure_crowd(build, arguments.work, arguments.containers, arguments.idle)


if __name__ == "__main__":
    main()
