"""ADD, CHECK and DEL of one container."""

from collections import defaultdict
from time import sleep

from bench.bed import Bed, Host, take_turns
from bench.namespace import namespaces
from bench.process import run
from bench.report import Row
from bench.targets import find_targets

_VERBS = ("ADD", "CHECK", "DEL")
_PEAK_TURNS = 5
# Seconds after which nothing of a call is left to do: the engine has its next spare ready after 15 ms.
_AFTERMATH = 0.06
_NFT = "/usr/sbin/nft"


def measure_attachment(
    bed: Bed, name: str, is_first: bool = True, has_foreign: bool = False, **options: bool
) -> list[Row]:
    """Measure the calls of one container after the other, each in a namespace that is new.

    Args:
        bed: the suites.
        name: of the case.
        is_first: whether the container is the only one on the network, so that its ADD makes the rules
            and its DEL removes them; otherwise another one is there all the time.
        has_foreign: whether somebody else changes nf_tables before each call.
        options: of the network.
    """
    samples: dict[str, dict[str, list[float]]] = {verb: defaultdict(list) for verb in _VERBS}
    watch = bed.watch()
    with bed.hosts(**options) as hosts, namespaces("container", len(hosts) * (bed.pairs + 2)) as containers:
        for host in hosts:
            resident = containers.pop()
            host.call("ADD", resident)
            if is_first:  # the bridge is there from now on
                host.call("DEL", resident)
        for host in take_turns(hosts, bed.pairs + 1):
            container = containers.pop()
            for verb in _VERBS:
                if has_foreign:
                    _change_nf_tables(host)
                samples[verb][host.name].append(host.call(verb, container).wall)
            containers.insert(0, container)  # to be deleted in the end
    return [
        # The first turn warms caches up.
        Row(
            f"{name}: {verb}",
            {side: walls[1:] for side, walls in samples[verb].items()},
            targets=find_targets(f"{name}: {verb}"),
            served=watch.calc_share(verb, "bridge"),
        )
        for verb in _VERBS
    ]


def _change_nf_tables(host: Host) -> None:
    """Make two commits of nf_tables that are nobody's whom the suites know."""
    with host.namespace.inside():
        for change in ("add", "delete"):
            run([_NFT, change, "table", "ip", "foreign"])


def measure_cpu(bed: Bed) -> list[Row]:
    """Measure the CPU time of attaching and detaching the only container of a network with NAT."""
    costs: dict[str, dict[str, list[float]]] = {verb: defaultdict(list) for verb in ("ADD", "DEL")}
    watch = bed.watch()
    with bed.hosts(nat=True) as hosts, namespaces("container", 1) as (container,):
        for host in take_turns(hosts, bed.pairs + 1):
            for verb, samples in costs.items():
                begin = bed.cpu.read()
                host.call(verb, container)
                sleep(_AFTERMATH)
                samples[host.name].append(bed.cpu.read() - begin)
    return [
        Row(
            f"NAT: {verb}, CPU time",
            {side: values[1:] for side, values in samples.items()},
            served=watch.calc_share(verb, "bridge"),
        )
        for verb, samples in costs.items()
    ]


def measure_peak(bed: Bed) -> list[Row]:
    """Measure the peak memory of a container's ADD, with NAT, where a process of its own does it."""
    peaks: dict[str, list[float]] = defaultdict(list)
    with bed.hosts(nat=True) as hosts, namespaces("container", 1) as (container,):
        own = [host for host in hosts if not host.suite.engine]
        for host in take_turns(own, _PEAK_TURNS):
            peaks[host.name].append(host.measure_peak("ADD", container))
            host.call("DEL", container)
    return [Row("NAT: ADD, peak memory", peaks, "MiB")]


def measure_version(bed: Bed) -> list[Row]:
    """Measure VERSION, which Podman asks each plugin for several times per container."""
    samples: dict[str, list[float]] = defaultdict(list)
    watch = bed.watch()
    for suite in take_turns(bed.suites, bed.pairs + 1):
        sample = suite.call("bridge", "VERSION", b'{"cniVersion": "1.0.0"}', "dummy", "dummy")
        samples[suite.name].append(sample.wall)
    walls = {side: values[1:] for side, values in samples.items()}
    served = watch.calc_share("VERSION", "bridge")
    return [Row("VERSION", walls, targets=find_targets("VERSION"), served=served)]
