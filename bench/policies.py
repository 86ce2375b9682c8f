"""What network policies cost, to apply, for calls, and for packets; `bench/run.sh --policies` calls it.

There is nothing to compare them with: these are absolute figures, of the machine that they were taken on.
Processor time is what it takes when the machine has nothing else to do: the processes wait for each other.
"""

import argparse
import os
import re
import shutil
import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from json import dumps, loads
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median
from time import perf_counter, sleep
from typing import Any

import yaml

from bench.bed import settle
from bench.namespace import Namespace, namespaces
from bench.policy_crowd import make_crowd_documents, make_crowd_labels
from bench.process import Sample, Started, run
from shibafu.policy.compiled import Compiled
from shibafu.policy.compiler import compile_policies
from shibafu.policy.enforcement import enforce
from shibafu.policy.host_policies import HostPolicies
from shibafu.policy.policy_documents import parse_policies

_COUNTS = (100, 1000, 2000, 5000)
_MANY = 1000
_BRIDGE, _SUBNETS = "br-policy", ("10.78.0.0/16", "fd78::/64")
# A client and a server, whose policy is in force beside all others.
_TEAM, _CLIENT, _SERVER, _PORT = "bench", "client", "server", 9
_OWN = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "own", "namespace": _TEAM},
    "spec": {
        "podSelector": {"matchLabels": {"app": _SERVER}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": _CLIENT}}}]}],
    },
}
# What a host has on which only connections are tracked.
_TRACKED = (
    "add table inet tracking; add chain inet tracking forward { type filter hook forward priority -10; };"
    "add rule inet tracking forward ct state established,related accept"
)
_FLOWS, _TURNS, _CALLS = 2000, 5, 4
# Seconds of traffic while policies are applied, and for a server to listen.
_SECONDS, _REST = 15, 1

Document = dict[str, Any]


class _Site:
    """A host with one network of two families.

    Args:
        build: the folder of the executables.
        work: a directory of its own.
        containers: how many there are beside client and server.
    """

    def __init__(self, build: Path, work: Path, containers: int, stack: ExitStack) -> None:
        self._build = build
        self._policy_dir = work / "policies"
        self._policy_dir.mkdir()
        ranges = [[{"subnet": subnet}] for subnet in _SUBNETS]
        ipam = {"type": "shibafu-ipam", "ranges": ranges, "dataDir": str(work / "leases")}
        keys = {"type": "shibafu-bridge", "bridge": _BRIDGE, "isDefaultGateway": True, "ipam": ipam}
        self._network = {"cniVersion": "1.1.0", "name": "restricted"} | keys
        self._results: dict[str, bytes] = {}
        self.host = stack.enter_context(Namespace("host"))
        self.client, self.server = stack.enter_context(namespaces("container", 2))
        self.call("ADD", self.client, _TEAM, _CLIENT)
        answer = loads(self.call("ADD", self.server, _TEAM, _SERVER).output)
        self.address: str = answer["ips"][0]["address"].partition("/")[0]
        self.labels = make_crowd_labels(containers)
        self.crowd = stack.enter_context(namespaces("container", containers))
        for container, labels in zip(self.crowd, self.labels, strict=True):
            self.call("ADD", container, *labels)

    def call(self, command: str, container: Namespace, namespace: str, app: str, *prefix: str) -> Sample:
        """Call shibafu-bridge, after the words of a program that starts it."""
        labels = [{"key": "app", "value": app}]
        config = self._network | {"args": {"cni": {"labels": labels}}}
        if command == "DEL":
            config["prevResult"] = loads(self._results[container.name])
        env = {
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container.name,
            "CNI_NETNS": container.path,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self._build),
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace}",
        }
        with self.host.inside():
            sample = run([*prefix, str(self._build / "shibafu-bridge")], env, dumps(config).encode())
        self._results[container.name] = sample.output
        return sample

    def declare(self, policies: Iterable[Document]) -> None:
        """Write the policies that are applied next."""
        text = yaml.dump_all(policies, Dumper=yaml.CSafeDumper)
        (self._policy_dir / "policies.yaml").write_text(text)

    def apply(self) -> Sample:
        """Apply them by the command."""
        words = ["policy", "apply", "--policy-dir", str(self._policy_dir)]
        with self.host.inside():
            return run([str(self._build / "shibafu"), *words])

    def apply_in_steps(self) -> list[float]:
        """Apply them in this process; return the processor time of reading, compiling and loading them."""
        path = self._policy_dir / "policies.yaml"
        used = [_read_cpu()]
        policies = parse_policies(path.read_text(), str(path))
        used.append(_read_cpu())
        compiled = compile_policies(policies)
        used.append(_read_cpu())
        with self.host.inside():
            enforce(compiled, HostPolicies(), os.environ)
        used.append(_read_cpu())
        return [later - earlier for earlier, later in pairwise(used)]

    def withdraw(self) -> None:
        """Have no policies."""
        with self.host.inside():
            enforce(Compiled(), HostPolicies(), os.environ)

    def nft(self, text: str) -> str:
        """Run nft on the host; return what it printed."""
        with self.host.inside():
            return _run("nft", text)

    def have_bridged(self, is_on: bool) -> None:
        """Have netfilter see, or not see, what the bridge forwards."""
        values = [word for name in ("iptables", "ip6tables") for word in (f"nf_call_{name}", str(int(is_on)))]
        with self.host.inside():
            _run("ip", "link", "set", _BRIDGE, "type", "bridge", *values)


def _run(name: str, *words: str) -> str:
    return run([_find(name), *words]).output.decode()


def _find(program: str) -> str:
    return shutil.which(program) or program


def _read_cpu() -> float:
    """Return the milliseconds of processor time of this process and those that it has waited for."""
    usages = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usages) * 1000


def _measure_applying(site: _Site, rounds: int) -> None:
    print(f"\nApplied to {len(site.crowd)} containers: milliseconds of processor time, least of {rounds}\n")
    print("| Policies | Reading | Compiling | Loading | The command | after one change | Rules |")
    print("|---|---|---|---|---|---|---|")
    for count in _COUNTS:
        policies = [_OWN, *make_crowd_documents(count)]
        samples = []
        for _ in range(rounds):
            site.withdraw()
            site.declare(policies)
            steps = site.apply_in_steps()
            site.withdraw()
            first = _measure_command(site)
            site.declare(policies[:-1])
            samples.append([*steps, first, _measure_command(site)])
        rules = len(
            re.findall("^\t\t.* (?:return|drop)$", site.nft("list table inet shibafu_policy"), re.MULTILINE)
        )
        least = [f"{min(values):.0f}" for values in zip(*samples, strict=True)]
        print(f"| {count:,} | {' | '.join(least)} | {rules:,} |", flush=True)


def _measure_command(site: _Site) -> float:
    before = _read_cpu()
    site.apply()
    return _read_cpu() - before


def _measure_container(site: _Site) -> None:
    container, labels = site.crowd[0], site.labels[0]
    walls, used = (defaultdict[tuple[str, int], list[float]](list) for _ in range(2))
    site.declare([_OWN, *make_crowd_documents(_MANY)])
    for _ in range(_TURNS):
        for count in (0, _MANY):
            if count:
                site.apply()
            else:
                site.withdraw()
            for command in ("DEL", "ADD") * _CALLS:
                settle()
                before = _read_cpu()
                walls[command, count].append(site.call(command, container, *labels).wall)
                used[command, count].append(_read_cpu() - before)
    print(f"\n| One container, milliseconds | Without policies | With {_MANY:,} | More |\n|---|---|---|---|")
    for what, samples in (("", walls), (", processor time", used)):
        for command in ("ADD", "DEL"):
            without, with_many = (median(samples[command, count]) for count in (0, _MANY))
            row = f"{without:.1f} | {with_many:.1f} | {with_many - without:.1f}"
            print(f"| {command}{what} | {row} |", flush=True)


def _measure_looks(site: _Site) -> None:
    """Count what a call looks for that there is not, on a host without policies."""
    site.withdraw()
    container, labels = site.crowd[0], site.labels[0]
    print("\nLooks of a call for policies that there are none of:")
    for command in ("DEL", "ADD"):
        with_trace = ("/usr/bin/strace", "--follow-forks", "--quiet=all", "--output=/run/strace")
        site.call(command, container, *labels, *with_trace)
        lines = Path("/run/strace").read_text().splitlines()
        looks = [line for line in lines if "/policy" in line and "ENOENT" in line]
        print(f"  {command}: {len(looks)} of {len(lines)} system calls", flush=True)


def _measure_first_packets(site: _Site) -> None:
    spans: dict[str, list[float]] = {}
    for _ in range(_TURNS):
        for title in _prepare_packets(site):
            spans.setdefault(title, []).append(_send_flows(site))
    print(f"\n| A flow's first packet | Microseconds, least of {_TURNS} | Ratio |\n|---|---|---|")
    tracked = min(spans["connections are tracked"])
    for title, values in spans.items():
        print(f"| {title} | {min(values):.1f} | {min(values) / tracked:.2f} |", flush=True)


def _prepare_packets(site: _Site) -> Iterator[str]:
    """Yield what the bridge's packets meet."""
    site.withdraw()
    yield "nothing"
    site.have_bridged(True)
    site.nft(_TRACKED)
    yield "connections are tracked"
    site.nft("delete table inet tracking")
    for title, policies in (("one policy", []), (f"{_MANY:,} others, too", make_crowd_documents(_MANY))):
        site.declare([_OWN, *policies])
        site.apply()
        yield title
    site.withdraw()
    site.have_bridged(False)


def _send_flows(site: _Site) -> float:
    """Return the microseconds that a packet takes from the client to the server: the median of many."""
    spans = []
    with site.client.inside():
        for _ in range(_FLOWS):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talker:
                talker.connect((site.address, _PORT))
                begin = perf_counter()
                talker.send(b"x")
                spans.append((perf_counter() - begin) * 1e6)
    return median(spans)


def _measure_traffic(site: _Site) -> None:
    """Apply one half of the policies, and the other, while packets are on their way."""
    everything = make_crowd_documents(2 * _MANY)
    halves = [[_OWN, *everything[:_MANY]], [_OWN, *everything[_MANY:]]]
    site.declare(halves[0])
    site.apply()
    with site.server.inside():
        server = Started([_find("iperf3"), "-s", "-1"], os.environ)
    sleep(_REST)
    with site.client.inside():
        duration = str(_SECONDS)
        ping = Started([_find("ping"), "-q", "-i", "0.002", "-w", duration, site.address], os.environ)
        flow = Started([_find("iperf3"), "-J", "-t", duration, "-c", site.address], os.environ)
    applied = 0
    while not ping.has_ended() and not flow.has_ended():
        applied += 1
        site.declare(halves[applied % 2])
        site.apply()
    pings = next(line for line in ping.wait().output.decode().splitlines() if "transmitted" in line)
    speeds = [one["sum"]["bits_per_second"] / 1e9 for one in loads(flow.wait().output)["intervals"]]
    server.wait()
    print(f"\nIn {_SECONDS} seconds, {_MANY:,} policies were replaced by {_MANY:,} others {applied} times:")
    print(f"  pings each 2 ms: {pings}")
    print(f"  iperf3, Gbit/s: {median(speeds):.1f} in the median second, {min(speeds):.1f} in the slowest")


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(prog="run.sh --policies", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3, help="how often policies are applied (3)")
    parser.add_argument("--containers", type=int, default=500, help="how many containers there are (500)")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        build = arguments.root / "dist" / "shibafu"
        site = _Site(build, arguments.work, arguments.containers, stack)
        stack.callback(site.withdraw)
        _measure_looks(site)
        _measure_applying(site, arguments.rounds)
        _measure_container(site)
        _measure_first_packets(site)
        _measure_traffic(site)


if __name__ == "__main__":
    main()
