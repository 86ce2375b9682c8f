"""Killing a call at any instant, and what a runtime does then."""

import signal
from pathlib import Path

import pytest

from support.machine import Config, Machine

# System calls by which a call changes something that outlives it, or passes a point of no return.
STEPS = "sendto,write,linkat,renameat,rename,link,unlink,mkdir,rmdir,ftruncate,flock,vfork,clone,clone3,setns"
REMEDIES = ("DEL", "DEL without namespace", "GC", "ADD")


def trace(machine: Machine, *options: str) -> Path:
    """Have later calls traced; return where the trace goes."""
    if machine.suite.has_engine:
        pytest.skip("another process than the traced one does the call; see tests/engine/test_killed.py")
    report = machine.directory / "strace"
    machine.prefix = ["/usr/bin/strace", "--quiet=all", f"--output={report}", f"--trace={STEPS}", *options]
    return report


def find_steps(
    machine: Machine, command: str, config: Config, container: str = "c1"
) -> list[tuple[str, int]]:
    """Return each step of a call that succeeds: the system call and its number among its kind."""
    report = trace(machine)
    answer = machine.call(command, config, container)
    machine.prefix = []
    assert answer.status == 0, answer
    return read_steps(report)


def read_steps(report: Path) -> list[tuple[str, int]]:
    """Return each step that a trace has."""
    # The kernel has some writes to /proc/sys begin again until it gets a lock.
    lines = [line for line in report.read_text().splitlines() if "(" in line and "ERESTART" not in line]
    names = [line.partition("(")[0] for line in lines]
    return [(name, names[: i + 1].count(name)) for i, name in enumerate(names) if name in STEPS.split(",")]


def call_and_kill(
    machine: Machine, command: str, config: Config, step: tuple[str, int], container: str = "c1"
) -> bool:
    """Make a call that is killed when it enters a step, before it gets to do it; return whether it was."""
    trace(machine, f"--inject={step[0]}:signal=KILL:when={step[1]}")
    answer = machine.call(command, config, container)
    machine.prefix = []
    return answer.status == -signal.SIGKILL


def assert_clean(machine: Machine, before: dict[str, object]) -> None:
    """Compare with what was there before; the bridge may stay, as it does after any DEL."""
    assert_same(before, machine.snapshot())


def assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    """Compare two snapshots, the bridge br0 left out."""
    for snapshot in (before, after):
        for key in ("links", "routes"):
            entries = snapshot[key]
            if isinstance(entries, dict):
                snapshot[key] = {name: link for name, link in entries.items() if name != "br0"}
            elif isinstance(entries, list):
                snapshot[key] = [route for route in entries if route["dev"] != "br0"]
    different = {key: (before[key], after[key]) for key in before if after[key] != before[key]}
    assert not different, different


def remedy(machine: Machine, config: Config, kind: str, container: str = "c1") -> None:
    """Do what a runtime does after a call was killed."""
    if kind == "GC":
        machine.collect_garbage(config)
    else:
        machine.delete(config, container, **({"CNI_NETNS": ""} if "without" in kind else {}))
    if kind == "ADD":
        # a runtime must DEL before it tries again
        machine.add(config, container)
        machine.check(config, container)
        machine.delete(config, container)
