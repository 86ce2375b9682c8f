"""Measures, and prints tables; called by bench/run.sh, inside of namespaces that end with it."""

import argparse
import os
import platform
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from json import dumps
from pathlib import Path
from signal import SIGTERM, signal
from time import monotonic

from bench.attach import measure_attachment, measure_cpu, measure_peak, measure_version
from bench.bed import Bed
from bench.burst import measure_burst, measure_mass
from bench.chain import measure_chain, measure_many_ports
from bench.chained import measure_chained
from bench.containers import measure_containers
from bench.cpu import CpuAccount
from bench.crowd import measure_crowd
from bench.documents import update_figures, update_trace
from bench.engine import Engine
from bench.floors import measure_floors
from bench.ipam import measure_ipam
from bench.limits import measure_limits
from bench.netavark import measure_netavark
from bench.process import Failed, run
from bench.report import Row, Table
from bench.resident import measure_idleness, measure_memory
from bench.rules import measure_rules
from bench.suite import Suite, copy_build, make_ours, make_reference
from bench.trace import trace_calls
from bench.traffic import measure_traffic

_PAIRS = 30
_QUICK_PAIRS = 7
# The load average up to which figures are worth being published.
_QUIET = 1.5

# The cases, in the order of the report. Rows of cases with the same title make one table.
_ATTACHING, _CHAINED, _TRAFFIC, _FLOORS = "One container", "Chained plugins", "Traffic", "Floors"
_ROWS: dict[str, tuple[str, Callable[[Bed], list[Row]]]] = {
    "plain": (_ATTACHING, partial(measure_attachment, name="no NAT")),
    "spoof": (_ATTACHING, partial(measure_attachment, name="no NAT, macspoofchk", spoof_check=True)),
    "nat": (_ATTACHING, partial(measure_attachment, name="NAT", nat=True)),
    "dual": (_ATTACHING, partial(measure_attachment, name="NAT, dual stack", nat=True, dual_stack=True)),
    "nat-next": (
        _ATTACHING,
        partial(measure_attachment, name="NAT, beside another", nat=True, is_first=False),
    ),
    "dual-next": (
        _ATTACHING,
        partial(
            measure_attachment,
            name="NAT, dual stack, beside another",
            nat=True,
            dual_stack=True,
            is_first=False,
        ),
    ),
    "foreign": (
        _ATTACHING,
        partial(
            measure_attachment,
            name="NAT, beside another, foreign commits",
            nat=True,
            is_first=False,
            has_foreign=True,
        ),
    ),
    "spoof-next": (
        _ATTACHING,
        partial(
            measure_attachment,
            name="NAT, macspoofchk, beside another",
            nat=True,
            is_first=False,
            spoof_check=True,
        ),
    ),
    "idle": (_ATTACHING, measure_idleness),
    "version": (_ATTACHING, measure_version),
    "cpu": (_ATTACHING, measure_cpu),
    "peak": (_ATTACHING, measure_peak),
    "burst": (_ATTACHING, measure_burst),
    "bandwidth": (_CHAINED, partial(measure_chained, plugin="bandwidth")),
    "firewall": (_CHAINED, partial(measure_chained, plugin="firewall")),
    "loopback": (_CHAINED, partial(measure_chained, plugin="loopback")),
    "portmap": (_CHAINED, partial(measure_chained, plugin="portmap")),
    "tuning": (_CHAINED, partial(measure_chained, plugin="tuning")),
    "chain": (_CHAINED, measure_chain),
    "ports": (_CHAINED, measure_many_ports),
    "traffic": (_TRAFFIC, measure_traffic),
    "limits": (_TRAFFIC, measure_limits),
    "floors": (_FLOORS, measure_floors),
}
_TABLES: dict[str, Callable[[Bed], list[Table]]] = {
    "mass": measure_mass,
    "rules": measure_rules,
    "memory": measure_memory,
    "ipam": measure_ipam,
    "crowd": measure_crowd,
    "netavark": measure_netavark,
    "containers": measure_containers,
    "trace": trace_calls,
}
CASES = tuple(case for case in (*_ROWS, *_TABLES) if case != "trace")
# What does not depend on how the calls were made.
_OF_ALL_OURS = ("traffic", "limits", "rules")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench/run.sh", description=__doc__)
    parser.add_argument("--case", action="append", choices=CASES, help="measure only this; may be repeated")
    parser.add_argument("--trace", action="store_true", help="instead, show where the time goes")
    parser.add_argument("--pairs", type=int, help=f"how often each is measured (default: {_PAIRS})")
    parser.add_argument("--quick", action="store_true", help="take less than a minute, and be less exact")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there, all samples too")
    parser.add_argument("--check", action="store_true", help="fail when a ratio is above its target")
    parser.add_argument("--against", type=Path, metavar="DIR", help="compare with the build in this folder")
    parser.add_argument("--engine", action="store_true", help="with --against: both builds by their engines")
    parser.add_argument(
        "--update", action="store_true", help="write the figures into README.md and docs/performance.md"
    )
    parser.add_argument("--root", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine and not options.against:
        parser.error("--engine is for --against: otherwise it is measured anyway")
    if options.update and (options.case or options.quick or options.against):
        parser.error("--update takes the figures of all cases")
    return options


def main() -> int:
    """Measure what was asked for; return the exit status."""
    options = parse_arguments()
    # What ends with the stack is to end however the measurements do.
    signal(SIGTERM, lambda number, frame: sys.exit(1))
    pairs = options.pairs or (_QUICK_PAIRS if options.quick else _PAIRS)
    machine = describe_machine()
    if options.update and os.getloadavg()[0] > _QUIET:
        print(f"load average {os.getloadavg()[0]:.1f}: too much else is going on", file=sys.stderr)
        return 2
    tables: dict[str, Table] = {}
    try:
        with ExitStack() as stack:
            cpu = stack.enter_context(CpuAccount())
            bed = Bed(make_suites(options, stack), options.work, cpu, pairs, options.quick)
            for case in ("trace",) if options.trace else CASES:
                if options.trace or not options.case or case in options.case:
                    begin = monotonic()
                    measure(bed, case, tables)
                    print(f"measured {case} in {monotonic() - begin:.0f} s", file=sys.stderr)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 2

    head = [
        f"{pairs} turns; median, and the middle half of the samples in brackets",
        ", ".join(machine.values()),
    ]
    print("", *head, sep="\n")
    for table in tables.values():
        print("", *table.draw(), sep="\n")
    if options.json:
        measured = [table.to_json() for table in tables.values()]
        report = {"machine": machine, "turns": pairs, "tables": measured}
        options.json.write_text(dumps(report, indent=1) + "\n")
    if options.update and options.trace:
        update_trace(options.root, list(tables.values()))
    elif options.update:
        update_figures(options.root, head, list(tables.values()))
    missed = [name for table in tables.values() for name in table.find_missed()]
    if missed:
        print(f"\nmissed: {'; '.join(missed)}")
    return 1 if missed and options.check else 0


def make_suites(options: argparse.Namespace, stack: ExitStack) -> tuple[Suite, ...]:
    """Return what is compared, with the engines that it takes, which end with the stack."""
    built, work = options.root / "dist" / "shibafu", options.work
    if options.against:
        builds = {"shibafu": built, "the other build": options.against.resolve()}
        return tuple(
            make_ours(
                name,
                home,
                work / f"cni-bin-{number}",
                stack.enter_context(Engine(home)) if options.engine else None,
            )
            for number, (name, home) in enumerate(builds.items())
        )
    copy = work / "shibafu"
    copy_build(options.root, built, copy)
    cold = make_ours("cold", copy, work / "cold-cni-bin")
    if options.trace:
        return cold, make_reference()
    engine = make_ours("engine", built, work / "cni-bin", stack.enter_context(Engine(built)))
    return engine, cold, make_reference()


def measure(bed: Bed, case: str, tables: dict[str, Table]) -> None:
    """Measure a case and add what comes of it to the tables, which are named by their titles."""
    if case in _OF_ALL_OURS:
        bed = replace(bed, suites=(bed.suites[0], bed.suites[-1]))
    if case in _TABLES:
        for table in _TABLES[case](bed):
            tables[f"{table.title}: {', '.join(table.sides)}"] = table
        return
    title, function = _ROWS[case]
    sides = ("time",) if title == _FLOORS else bed.sides
    tables.setdefault(title, Table(title, sides)).rows.extend(function(bed))


def describe_machine() -> dict[str, str]:
    """Return what the figures depend on."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "?")
    packages = ["containernetworking-plugins", "iptables", "netavark"]
    listing = run(["/usr/bin/dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *packages]).output
    return {
        "processor": f"{os.cpu_count()} x {model}",
        "load": f"load average {os.getloadavg()[0]:.1f} at the beginning",
        "kernel": f"Linux {platform.release()}",
        "python": f"Python {platform.python_version()}",
        "packages": ", ".join(listing.decode().splitlines()),
    }


if __name__ == "__main__":
    sys.exit(main())
