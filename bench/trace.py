"""Where the time of one ADD and one DEL goes that start cold: the system calls, by what they are for.

A traced call takes longer; how much, is measured and subtracted. The rest of the difference to a call that is
not traced is in what is waited for: iptables-restore and the deletion of the link are traced as well.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.bed import Bed, Host
from bench.namespace import Namespace
from bench.process import run
from bench.report import Row, Table

_STRACE = "/usr/bin/strace"
# Only these stop the process: what is not traced takes no longer than otherwise.
_CALLS = (
    "execve,openat,read,write,link,unlink,mkdir,flock,access,memfd_create,clone,clone3,fork,vfork,"
    "wait4,poll,ppoll,pselect6,socket,sendto,recvfrom,setns,exit_group"
)
_TURNS = 15
# Does nothing but calls that are traced.
_CALIBRATION = "import posix\nfor _ in range(2000): posix.access('/', 0)"
_CALIBRATION_CALLS = 2000
# From one of these calls to the first of another purpose, the time is this purpose's, thinking included.
_PURPOSES = (
    ("the interpreter", r"execve\("),
    ("imports", r"_internal/(entry\.pyc|shibafu\.bundle|.*\.cpython-|libffi)"),
    ("reading the configuration", r"\bread\(0,"),
    ("addresses", r'"DATA_DIR'),
    ("records in /run/shibafu", r'"/run/shibafu'),
    ("network namespaces", r"\bsetns\(|/ns/net\"|\"/run/netns/"),
    ("switches in /proc/sys/net", r'"/proc/sys/net'),
    ("iptables-restore", r"-restore|memfd_create|clone|fork|NETLINK_NETFILTER|read\(\d+, <unfinished|wait4"),
    ("links, addresses, routes", r"NETLINK_ROUTE|nlmsg_type="),
    ("printing the result", r"\bwrite\(1,|exit_group"),
)
_LINE = re.compile(r"(?P<process>\d+) +(?P<time>[\d.]+) (?P<call>.*)")


@dataclass
class Share:
    """What one purpose has of a call.

    Args:
        duration: milliseconds, of the traced process.
        calls: how many system calls were traced.
    """

    duration: float = 0.0
    calls: int = 0


def trace_calls(bed: Bed) -> list[Table]:
    """Trace ADD and DEL of a network's only container, with NAT; the first suite's calls start cold."""
    untraced: dict[str, list[float]] = defaultdict(list)
    traces: dict[str, list[dict[str, Share]]] = defaultdict(list)
    with bed.host(bed.suites[0], nat=True) as host, Namespace("container") as container:
        for _ in range(_TURNS + 1):
            for verb in ("ADD", "DEL"):
                untraced[verb].append(host.call(verb, container).wall)
            for verb in ("ADD", "DEL"):
                lines = _trace(host, verb, container, bed.work / "trace")
                traces[verb].append(_sum_up(lines, str(host.data_dir)))
    # The first turn warms caches up.
    excess = _measure_excess(bed.work / "trace")
    return [_tabulate(verb, untraced[verb][1:], traces[verb][1:], excess) for verb in traces]


def _calc_strace(file: Path) -> list[str]:
    return [_STRACE, "-f", "--seccomp-bpf", "-ttt", "-s", "200", "-e", f"trace={_CALLS}", "-o", str(file)]


def _trace(host: Host, verb: str, container: Namespace, file: Path) -> list[str]:
    env, config = host.calc_call(verb, container)
    with host.namespace.inside():
        sample = run([*_calc_strace(file), host.suite.programs["bridge"]], env, config)
    host.remember(verb, container, sample.output)
    return file.read_text(errors="replace").splitlines()


def _measure_excess(file: Path) -> float:
    """Return how many milliseconds longer a call takes that is traced."""
    program = ["/usr/bin/python3", "-I", "-S", "-c", _CALIBRATION]
    pairs = [(run([*_calc_strace(file), *program]).wall, run(program).wall) for _ in range(_TURNS)]
    return median(traced - plain for traced, plain in pairs) / _CALIBRATION_CALLS


def _sum_up(lines: list[str], data_dir: str) -> dict[str, Share]:
    """Return what the first process of a trace spends its time for."""
    patterns = {name: re.compile(text.replace("DATA_DIR", re.escape(data_dir))) for name, text in _PURPOSES}
    shares = {purpose: Share() for purpose in patterns}
    calls = [found for found in map(_LINE.match, lines) if found is not None]
    calls = [found for found in calls if found["process"] == calls[0]["process"]]
    purpose, since = "the interpreter", float(calls[0]["time"])
    for found in calls:
        time = float(found["time"])
        shares[purpose].duration += (time - since) * 1e3
        shares[purpose].calls += 1
        since = time
        purpose = next((name for name, pattern in patterns.items() if pattern.search(found["call"])), purpose)
    return shares


def _tabulate(verb: str, untraced: list[float], traces: list[dict[str, Share]], excess: float) -> Table:
    rows = [Row("in all, not traced", {"time": untraced})]
    for purpose in traces[0]:
        shares = [trace[purpose] for trace in traces]
        if median(share.calls for share in shares):
            rows.append(Row(purpose, {"time": [share.duration - share.calls * excess for share in shares]}))
    return Table(f"Where the time goes: {verb} with NAT", ("time",), rows)
