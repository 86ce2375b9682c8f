"""Calls and `shibafu policy apply` that are killed, at any instant: what policies deny stays denied."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import yaml

from netns.policy_cases import match, pods, policy
from netns.policy_machine import DB_FROM_WEB, TABLE, apply, labelled
from support.killed_calls import STEPS, call_and_kill, find_steps, remedy
from support.machine import Config, Machine
from support.traffic import can_reach

# What is applied in place of the first one: `other` may not connect to `db` by either, and `web` may by both.
DB_FROM_WEB_AND_ADMIN = policy(
    [{"from": [pods(match(app="web"))]}, {"from": [pods(match(app="admin"))]}],
    target=match(app="db"),
    namespace="default",
)
_APPLY = """
import os, sys
from shibafu.policy.compiler import compile_policies
from shibafu.policy.enforcement import enforce
from shibafu.policy.host_policies import HostPolicies
from shibafu.policy.policy_documents import parse_policies
enforce(compile_policies(parse_policies(sys.stdin.read(), "policies.yaml")), HostPolicies(), os.environ)
"""
# Of all steps, the usual suite tries some.
strides = pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.long)])


@pytest.fixture
def machine(machine: Machine) -> Iterator[Machine]:
    """One with a policy."""
    apply(machine, DB_FROM_WEB)
    yield machine
    apply(machine)


def attach(machine: Machine, config: Config, name: str) -> str:
    """Attach a container whose label is its name; return its address."""
    result = machine.add(labelled(config, app=name), name)
    address: str = result["ips"][0]["address"]
    return address.partition("/")[0]


@strides
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_a_call_is_killed(machine: Machine, command: str, stride: int) -> None:
    config = machine.config()
    attach(machine, config, "other")
    wanted = labelled(config, app="db")
    result = machine.add(wanted)
    address = result["ips"][0]["address"].partition("/")[0]
    assert not can_reach(machine.container(), address, machine.container("other"))
    if command == "ADD":
        machine.delete(wanted)
    steps = find_steps(machine, command, wanted)
    if command == "ADD":
        machine.delete(wanted)
    killed = 0
    for number, step in enumerate(steps[::stride]):
        if command == "DEL":
            machine.add(wanted)
        killed += call_and_kill(machine, command, wanted, step)
        # What is there of it may not be reached, whatever is missing.
        if f" {address}/" in machine.container().run("ip", "-4", "addr"):
            assert not can_reach(machine.container(), address, machine.container("other"))
        remedy(machine, wanted, ("DEL", "DEL without namespace", "ADD")[number % 3])
        assert " jump " not in machine.host.run("nft", "list", "map", *TABLE.split(), "in4")
    assert killed > len(steps[::stride]) // 2


@strides
def test_apply_is_killed(machine: Machine, stride: int) -> None:
    config = machine.config()
    address = attach(machine, config, "db")
    for name in ("web", "other"):
        attach(machine, config, name)

    def reach() -> list[bool]:
        server = machine.container("db")
        return [can_reach(server, address, machine.container(name)) for name in ("web", "other")]

    assert reach() == [True, False]
    steps = _list_steps(machine)
    killed = 0
    for step in steps[::stride]:
        apply(machine, DB_FROM_WEB)
        killed += _run_apply(machine, f"--inject={step[0]}:signal=KILL:when={step[1]}") == -signal.SIGKILL
        assert reach() == [True, False]
        apply(machine, DB_FROM_WEB_AND_ADMIN)
        assert reach() == [True, False]
    assert killed > len(steps[::stride]) // 2


def _list_steps(machine: Machine) -> list[tuple[str, int]]:
    report = machine.directory / "strace"
    assert _run_apply(machine, f"--output={report}") == 0
    names = [line.partition("(")[0] for line in report.read_text().splitlines() if "(" in line]
    return [(name, names[: i + 1].count(name)) for i, name in enumerate(names) if name in STEPS.split(",")]


def _run_apply(machine: Machine, option: str) -> int:
    """Apply the second policy in a process that is traced; return how it ended."""
    traced = ["/usr/bin/strace", "--quiet=all", f"--trace={STEPS}", "--output=/dev/null", option]
    with machine.host.enter():
        done = subprocess.run(
            [*traced, sys.executable, "-c", _APPLY],
            input=yaml.safe_dump(DB_FROM_WEB_AND_ADMIN),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
            capture_output=True,
            check=False,
        )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode
