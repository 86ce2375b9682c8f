"""Many containers on one bridge, and many at once."""

from collections import defaultdict
from contextlib import ExitStack
from time import perf_counter_ns

from bench.bed import Bed, Host, settle, take_turns
from bench.namespace import Namespace, namespaces
from bench.process import Failed
from bench.report import Row, Table
from bench.suite import count_rules
from bench.targets import TARGETS

_CROWD = 200
_QUICK_CROWD = 40
_BURST = 32


def measure_crowd(bed: Bed) -> list[Table]:
    """Measure ADD and DEL, with NAT, as the first container of a bridge, the second, and the last of many."""
    crowd = _QUICK_CROWD if bed.is_quick else _CROWD
    places = {1: "1st", 2: "2nd", crowd: f"{crowd}th"}
    samples: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    rules: dict[str, float] = {}
    with ExitStack() as stack:
        sides: list[tuple[Host, int]] = []
        for place in places:
            for suite in bed.suites:
                host = stack.enter_context(bed.host(suite, nat=True))
                for resident in stack.enter_context(namespaces("resident", place - 1)):
                    host.call("ADD", resident)
                sides.append((host, place))
        container = stack.enter_context(Namespace("container"))
        for host, place in take_turns(sides, bed.costly_pairs + 1):
            side = host.suite.name
            samples[side, place, "ADD"].append(host.call("ADD", container).wall)
            if place == crowd:
                with host.namespace.inside():
                    rules[side] = count_rules()
            samples[side, place, "DEL"].append(host.call("DEL", container).wall)

    ours, theirs = (suite.name for suite in bed.suites)
    compared = Table("Many on one bridge, with NAT", ours, theirs)
    for place, ordinal in places.items():
        for verb in ("ADD", "DEL"):
            name = f"{verb} as the {ordinal} container"
            compared.rows.append(Row(name, samples[ours, place, verb][1:], samples[theirs, place, verb][1:]))
    name = f"iptables rules with {crowd} containers"
    compared.rows.append(Row(name, [rules[ours]], [rules[theirs]], "rules"))

    tables = [compared]
    for place in (1, 2):
        grown = Table("Growth of shibafu's bridge", f"the {places[crowd]}", f"the {places[place]}")
        for verb in ("ADD", "DEL"):
            name = f"{verb} as the {places[crowd]} container"
            target = TARGETS.get(name) if place == 1 else None
            left, right = samples[ours, crowd, verb][1:], samples[ours, place, verb][1:]
            grown.rows.append(Row(name, left, right, target=target))
        tables.append(grown)
    return tables


def measure_burst(bed: Bed) -> list[Row]:
    """Measure how long it takes to attach and to detach many containers, all asked for at once."""
    samples: dict[tuple[Host, str], list[float]] = defaultdict(list)
    with bed.hosts(nat=True) as hosts, namespaces("container", _BURST) as containers:
        for host in take_turns(hosts, bed.costly_pairs + 1):
            for verb in ("ADD", "DEL"):
                samples[host, verb].append(_call_all(host, verb, containers))
    rows = []
    for verb in ("ADD", "DEL"):
        name = f"{_BURST} {verb}s with NAT at once"
        ours, theirs = (samples[host, verb][1:] for host in hosts)
        rows.append(Row(name, ours, theirs, target=TARGETS.get(name)))
    return rows


def _call_all(host: Host, verb: str, containers: list[Namespace]) -> float:
    """Do a call for each container, and return the milliseconds from the first start to the last end."""
    settle()
    begin = perf_counter_ns()
    calls = [host.start(verb, container) for container in containers]
    failures = []
    for call, container in zip(calls, containers, strict=True):
        try:
            host.remember(verb, container, call.wait().output)
        except Failed as failure:
            failures.append(str(failure))
    wall = (perf_counter_ns() - begin) / 1e6
    if failures:
        raise Failed("\n".join(failures))
    return wall
