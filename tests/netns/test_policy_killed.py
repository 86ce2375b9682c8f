"""Calls and `shibafu policy apply` that are killed, at any instant: what policies deny stays denied."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from netns.policy_cases import match, pods, policy
from netns.policy_machine import SUBNETS, TABLE, apply, labelled
from support.command import CommandLine
from support.killed_calls import STEPS, call_and_kill, find_steps, remedy
from support.machine import Config, Machine
from support.policy_evaluator import Document
from support.suite import Suite
from support.traffic import list_arriving


def make_policy(*peers: str) -> Document:
    """Return a policy for `db`, by which it connects to some, and these to it."""
    listed = [pods(match(app=name)) for name in peers]
    return policy([{"from": listed}], [{"to": listed}], target=match(app="db"), namespace="default")


# What is applied in place of the first one says nothing else of `web` and `other`.
WEB, WEB_AND_ADMIN = make_policy("web"), make_policy("web", "admin")
# Of all steps, the usual suite tries some.
strides = pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.long)])


class Restricted:
    """Containers of one network with both families; `db` is the one that the policy is for."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.config = machine.config(*SUBNETS)
        self.addresses: dict[str, list[str]] = {}

    def label(self, name: str) -> Config:
        return labelled(self.config, app=name)

    def attach(self, *names: str) -> None:
        for name in names:
            result = self.machine.add(self.label(name), name)
            self.addresses[name] = [ip["address"].partition("/")[0] for ip in result["ips"]]

    def detach(self, name: str) -> None:
        self.machine.delete(self.label(name), name)

    def connects(self, name: str) -> list[bool]:
        """Return whether a container and `db` reach each other: it, and `db`, by each family."""
        one, db = self.machine.container(name), self.machine.container("db")
        return list_arriving(
            *((db, address, one) for address in self.addresses["db"]),
            *((one, address, db) for address in self.addresses[name]),
        )

    def count_jumps(self) -> int:
        """Return for how many addresses there are policies."""
        return self.machine.host.run("nft", "list", "table", *TABLE.split()).count(" : jump ")


@pytest.fixture
def restricted(machine: Machine) -> Iterator[Restricted]:
    apply(machine, WEB)
    made = Restricted(machine)
    made.attach("other", "web", "db")
    assert (made.connects("web"), made.connects("other")) == ([True] * 4, [False] * 4)
    yield made
    apply(machine)


@strides
@pytest.mark.parametrize("command", ["ADD", "DEL", pytest.param("GC", marks=pytest.mark.long)])
def test_a_call_is_killed(restricted: Restricted, command: str, stride: int) -> None:
    machine = restricted.machine
    config = restricted.label("db")
    if command == "GC":
        valid = [{"containerID": name, "ifname": "eth0"} for name in ("other", "web")]
        config |= {"cni.dev/valid-attachments": valid}
    if command == "ADD":
        restricted.detach("db")
    steps = find_steps(machine, command, config, "db")
    if command == "ADD":
        restricted.detach("db")
    killed = 0
    for number, step in enumerate(steps[::stride]):
        if command != "ADD":
            restricted.attach("db")
        killed += call_and_kill(machine, command, config, step, "db")
        # Whatever is there of it.
        assert restricted.connects("other") == [False] * 4, step
        if command == "GC":
            machine.collect_garbage(config, ("other", "eth0"), ("web", "eth0"))
        else:
            remedy(machine, config, ("DEL", "DEL without namespace", "ADD")[number % 3], "db")
        assert restricted.count_jumps() == 0, step
    assert killed > len(steps[::stride]) // 2


@strides
def test_apply_is_killed(restricted: Restricted, suite: Suite, tmp_path: Path, stride: int) -> None:
    """The next one applies all of it, and what is declared is what was before or what is new."""
    files = {}
    for name, document in (("former", WEB), ("new", WEB_AND_ADMIN)):
        files[name] = tmp_path / f"{name}.yaml"
        files[name].write_text(yaml.safe_dump(document))
    with CommandLine(suite, restricted.machine.host, tmp_path) as shibafu:
        shibafu(f"policy apply -f {files['former']}")
        steps = _list_steps(shibafu, suite, files["new"])
        killed = 0
        for step in steps[::stride]:
            shibafu(f"policy apply -f {files['former']}")
            option = f"--inject={step[0]}:signal=KILL:when={step[1]}"
            killed += _apply(shibafu, suite, files["new"], option) == -signal.SIGKILL
            assert restricted.connects("other") == [False] * 4, step
            assert [one["name"] for one in shibafu.json("policy ls")["policies"]] == ["base"], step
            shibafu(f"policy apply -f {files['new']}")
            assert (restricted.connects("web"), restricted.connects("other")) == ([True] * 4, [False] * 4)
            assert "warning" not in shibafu.run("policy", "ls")[1], step
        assert killed > len(steps[::stride]) // 2


def _list_steps(shibafu: CommandLine, suite: Suite, path: Path) -> list[tuple[str, int]]:
    report = path.with_suffix(".strace")
    assert _apply(shibafu, suite, path, f"--output={report}") == 0
    names = [line.partition("(")[0] for line in report.read_text().splitlines() if "(" in line]
    return [(name, names[: i + 1].count(name)) for i, name in enumerate(names) if name in STEPS.split(",")]


def _apply(shibafu: CommandLine, suite: Suite, path: Path, option: str) -> int:
    """Apply a file by a process that is traced; return how it ended."""
    traced = ["/usr/bin/strace", "--quiet=all", f"--trace={STEPS}", "--output=/dev/null", option]
    with shibafu.host.enter():
        done = subprocess.run(
            [*traced, *suite.command, "policy", "apply", "-f", str(path)],
            env={**os.environ, **shibafu.env, "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
            capture_output=True,
            check=False,
        )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode
