"""ADD, CHECK and DEL of one container."""

from collections import defaultdict

from bench.bed import Bed, Host, take_turns
from bench.namespace import namespaces
from bench.report import Row
from bench.targets import TARGETS

_VERBS = ("ADD", "CHECK", "DEL")
_PEAK_TURNS = 5


def measure_attachment(
    bed: Bed, name: str, nat: bool = False, dual_stack: bool = False, is_first: bool = True
) -> list[Row]:
    """Measure the calls of one container after the other, each in a namespace that is new.

    Args:
        bed: the suites.
        name: of the case.
        nat: whether the network masquerades.
        dual_stack: whether it has IPv6 as well.
        is_first: whether the container is the only one on the network, so that its ADD makes the rules
            and its DEL removes them; otherwise another one is there all the time.
    """
    wall: dict[tuple[Host, str], list[float]] = defaultdict(list)
    cpu: dict[tuple[Host, str], list[float]] = defaultdict(list)
    with bed.hosts(nat, dual_stack) as hosts, namespaces("container", 2 * bed.pairs + 4) as containers:
        for host in hosts:
            resident = containers.pop()
            host.call("ADD", resident)
            if is_first:  # the bridge is there from now on
                host.call("DEL", resident)
        for host in take_turns(hosts, bed.pairs + 1):
            container = containers.pop()
            for verb in _VERBS:
                sample = host.call(verb, container)
                wall[host, verb].append(sample.wall)
                cpu[host, verb].append(sample.cpu)
            containers.insert(0, container)  # to be deleted in the end
    ours, theirs = hosts
    rows = []
    for verb in _VERBS:
        row = f"{name}: {verb}"
        # The first turn warms caches up.
        rows.append(Row(row, wall[ours, verb][1:], wall[theirs, verb][1:], target=TARGETS.get(row)))
    if nat and is_first and not dual_stack:
        rows += [
            Row(f"{name}: {verb}, CPU time", cpu[ours, verb][1:], cpu[theirs, verb][1:])
            for verb in ("ADD", "DEL")
        ]
    return rows


def measure_memory(bed: Bed) -> list[Row]:
    """Measure the peak memory of a container's ADD, with NAT."""
    peaks: dict[Host, list[float]] = defaultdict(list)
    with bed.hosts(nat=True) as hosts, namespaces("container", 1) as (container,):
        for host in take_turns(hosts, _PEAK_TURNS):
            peaks[host].append(host.measure_peak("ADD", container))
            host.call("DEL", container)
    ours, theirs = hosts
    return [Row("NAT: ADD, peak memory", peaks[ours], peaks[theirs], "MiB")]


def measure_version(bed: Bed) -> list[Row]:
    """Measure VERSION, which Podman asks each plugin for several times per container."""
    samples: dict[str, list[float]] = defaultdict(list)
    for suite in take_turns(bed.suites, bed.pairs + 1):
        sample = suite.call("bridge", "VERSION", b'{"cniVersion": "1.0.0"}', "dummy", "dummy")
        samples[suite.name].append(sample.wall)
    ours, theirs = (samples[suite.name][1:] for suite in bed.suites)
    return [Row("VERSION", ours, theirs)]
