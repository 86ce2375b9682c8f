"""Traffic between containers of `shibafu run`, and between two namespaces on a bridge made by hand."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from json import loads
from pathlib import Path

from bench.bed import Bed, take_turns
from bench.namespace import Namespace
from bench.process import Failed, run
from bench.report import Row, Table
from bench.targets import find_targets
from bench.traffic import IP, IPERF, calc_turns, measure_flow, parse_flow

_CGROUP = "/shibafu-bench"
_SUBNET = "10.66.0."
_SECONDS = "1"
_PLAIN, _RUN = "plain namespaces", "shibafu run"


def measure_containers(bed: Bed) -> list[Table]:
    """Measure TCP between two containers, in turns with two namespaces that ip(8) has joined."""
    samples: dict[str, list[float]] = {_PLAIN: [], _RUN: []}
    with ExitStack() as stack:
        client, server = stack.enter_context(_plain_bridge())
        command = stack.enter_context(_Command(bed).containers())
        for side in take_turns(tuple(samples), calc_turns(bed)):
            if side == _PLAIN:
                samples[side].append(measure_flow(client, server, f"{_SUBNET}2"))
            else:
                samples[side].append(command.measure_flow())
    name = "iperf3 between containers"
    row = Row(name, samples, "Gbit/s", find_targets("iperf3: plain bridge"))
    return [Table("A bridge by hand", (_PLAIN, _RUN), [row])]


@contextmanager
def _plain_bridge() -> Iterator[tuple[Namespace, Namespace]]:
    """Make a bridge and two namespaces on it."""
    with Namespace("plain") as host, Namespace("plain") as one, Namespace("plain") as other:
        with host.inside():
            run([IP, "link", "add", "plain0", "type", "bridge"])
            run([IP, "link", "set", "plain0", "up"])
            for number, end in enumerate((one, other), 1):
                port = f"plain-{number}"
                run([IP, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", end.path])
                run([IP, "link", "set", port, "master", "plain0", "up"])
        for number, end in enumerate((one, other), 1):
            with end.inside():
                run([IP, "address", "add", f"{_SUBNET}{number}/24", "dev", "eth0"])
                run([IP, "link", "set", "eth0", "up"])
        yield one, other


class _Command:
    """The command `shibafu` on a host of its own.

    Args:
        bed: its directory.
    """

    def __init__(self, bed: Bed) -> None:
        built = bed.suites[0].home
        self._shibafu = str(built / "shibafu")
        self._host = Namespace("runtime")
        self._image = bed.work / "image"
        self._env = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "CNI_PATH": str(built),
            "CNI_CONF_DIR": str(bed.work / "net.d"),
            "CNI_CACHE_DIR": str(bed.work / "results"),
            "SHIBAFU_DATA_DIR": str(bed.work / "data"),
            "SHIBAFU_CGROUP_PARENT": _CGROUP,
        }
        self._address = ""

    def _run(self, *arguments: str) -> str:
        with self._host.inside():
            return run([self._shibafu, *arguments], self._env).output.decode()

    @contextmanager
    def containers(self) -> Iterator["_Command"]:
        """Run two containers, one of them with a server."""
        _make_image(self._image)
        with self._host:
            try:
                for name, words in (("server", ["--server"]), ("client", ["--server", "--port", "5999"])):
                    self._run("run", "--detach", "--name", name, str(self._image), IPERF, *words)
                (view,) = loads(self._run("ps", "--format", "json", "server"))
                self._address = view["addresses"][0].partition("/")[0]
                yield self
            finally:
                self._run("rm", "--force", *self._run("ps", "--all", "--quiet").split())
                for directory in Path("/sys/fs/cgroup").rglob(_CGROUP[1:]):
                    os.rmdir(directory)

    def measure_flow(self) -> float:
        """Return what the server receives, in Gbit/s."""
        options = ["--time", _SECONDS, "--json", "--connect-timeout", "2000"]
        return parse_flow(self._run("exec", "client", IPERF, "--client", self._address, *options))


def _make_image(directory: Path) -> None:
    """Copy iperf3 and its libraries, which ldd(1) lists, under the names that they have here."""
    listing = run(["/usr/bin/ldd", IPERF]).output.decode()
    paths = [IPERF, *re.findall(r"(/\S+) \(0x", listing)]
    if len(paths) < 3:
        raise Failed(f"ldd lists no libraries of {IPERF}: {listing}")
    for path in paths:
        copy = directory / path.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (directory / "tmp").mkdir()
