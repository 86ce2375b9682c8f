"""Many containers at once."""

import os
from collections import defaultdict
from select import POLLIN, poll
from time import perf_counter_ns, sleep

from bench.bed import Bed, Host, settle, take_turns
from bench.namespace import Namespace, namespaces
from bench.process import Failed, Started
from bench.report import Row, Table
from bench.targets import find_targets

_AT_ONCE = 32
_MANY = 500
_TURNS = 3
_VERBS = ("ADD", "DEL")
# Seconds after which all the work that a call causes is done.
_AFTERMATH = 0.5


def measure_burst(bed: Bed) -> list[Row]:
    """Measure how long it takes to attach and to detach many containers, all asked for at once."""
    walls: dict[str, dict[str, list[float]]] = {verb: defaultdict(list) for verb in _VERBS}
    watch = bed.watch()
    with bed.hosts(nat=True) as hosts, namespaces("container", _AT_ONCE) as containers:
        for host in take_turns(hosts, bed.costly_pairs + 1):
            for verb, samples in walls.items():
                samples[host.name].append(_call_each(host, verb, containers))
    rows = []
    for verb, samples in walls.items():
        name = f"{_AT_ONCE} {verb}s with NAT at once"
        measured = {side: values[1:] for side, values in samples.items()}
        served = watch.calc_share(verb, "bridge")
        rows.append(Row(name, measured, targets=find_targets(name), served=served))
    return rows


def measure_mass(bed: Bed) -> list[Table]:
    """Measure what it costs to attach and to detach hundreds, some at a time."""
    table = Table(f"{_MANY} containers with NAT, {_AT_ONCE} at a time", bed.sides)
    if bed.is_quick:
        return []
    walls: dict[str, dict[str, list[float]]] = {verb: defaultdict(list) for verb in _VERBS}
    costs: dict[str, dict[str, list[float]]] = {verb: defaultdict(list) for verb in _VERBS}
    watch = bed.watch()
    with bed.hosts(nat=True) as hosts, namespaces("container", _MANY) as containers:
        slow = [host for host in hosts if host.suite.is_slow]
        for host in take_turns(hosts, min(bed.pairs, _TURNS), slow, slow_turns=1):
            for verb in _VERBS:
                begin = bed.cpu.read()
                walls[verb][host.name].append(_call_each(host, verb, containers) / 1e3)
                sleep(_AFTERMATH)
                costs[verb][host.name].append((bed.cpu.read() - begin) / 1e3)
    for verb in _VERBS:
        table.rows.append(Row(verb, walls[verb], "s", served=watch.calc_share(verb, "bridge")))
        table.rows.append(Row(f"{verb}, CPU time", costs[verb], "s"))
    return [table]


def _call_each(host: Host, verb: str, containers: list[Namespace]) -> float:
    """Do a call for each container, some at a time; return milliseconds from first start to last end."""
    settle()
    waiting = containers[::-1]
    running: dict[int, tuple[Started, Namespace]] = {}
    failures = []
    poller = poll()
    begin = perf_counter_ns()
    while waiting or running:
        while waiting and len(running) < _AT_ONCE:
            container = waiting.pop()
            call = host.start(verb, container)
            descriptor = os.pidfd_open(call.pid)
            poller.register(descriptor, POLLIN)
            running[descriptor] = (call, container)
        for descriptor, _ in poller.poll():
            call, container = running.pop(descriptor)
            poller.unregister(descriptor)
            os.close(descriptor)
            try:
                host.remember(verb, container, call.wait().output)
            except Failed as failure:
                failures.append(str(failure))
    wall = (perf_counter_ns() - begin) / 1e6
    if failures:
        raise Failed("\n".join(failures))
    return wall
