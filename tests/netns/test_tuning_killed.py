"""A call that is killed, at any instant: what comes next restores the interface, and leaves no file."""

from pathlib import Path

import pytest

from netns.tuned import CHANGES, FIRST_MAC, connect, describe_result
from support.killed_calls import call_and_kill, find_steps, remedy
from support.machine import Config, Machine

_BEFORE = ("address", FIRST_MAC, "mtu", "1500", "txqueuelen", "1000", "promisc", "off", "allmulticast", "off")


def attach(machine: Machine) -> Config:
    """Give the container an interface; return what the plugin is given."""
    machine.plugin = machine.suite.directory / "tuning"
    connect(machine.container(), machine.host)
    result = describe_result(machine.container().path) | {"cniVersion": "1.1.0"}
    keys = {"dataDir": str(machine.directory / "tuning"), "prevResult": result}
    return {"cniVersion": "1.1.0", "name": "net", "type": "tuning", "txQLen": 77, **CHANGES, **keys}


@pytest.mark.parametrize(
    "remedies",
    [
        ("DEL", "ADD"),
        *(pytest.param(one, marks=pytest.mark.long) for one in (("DEL without namespace",), ("GC",))),
    ],
    ids=str,
)
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_every_step(machine: Machine, command: str, remedies: tuple[str, ...]) -> None:
    config = attach(machine)
    before = machine.snapshot()
    if command == "DEL":
        machine.add(config)
    steps = find_steps(machine, command, config)
    machine.delete(config)
    assert len(steps) >= 5
    killed = 0
    for number, step in enumerate(steps):
        if command == "DEL":
            machine.add(config)
        killed += call_and_kill(machine, command, config, step)
        kind = remedies[number % len(remedies)]
        remedy(machine, config, kind)
        assert list(Path(config["dataDir"]).glob("*")) == [], step
        if kind not in ("DEL", "ADD"):
            # Nobody can restore the interface by these, which is gone as a rule.
            machine.container().run("ip", "link", "set", "eth0", *_BEFORE)
        assert machine.snapshot() == before, step
    assert killed > len(steps) // 2
