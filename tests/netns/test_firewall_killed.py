"""A call that is killed, at any instant: the next one finds and removes everything."""

import pytest

from netns.walled import assert_open_again
from support.killed_calls import call_and_kill, find_steps, remedy
from support.machine import Config, Machine


# The usual suite kills an ADD at a share of its steps: tests/dist/test_killed_anywhere.py.
@pytest.mark.long
@pytest.mark.parametrize("remedies", [("DEL", "DEL without namespace", "ADD"), ("GC",)], ids=str)
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_every_step(machine: Machine, command: str, remedies: tuple[str, ...]) -> None:
    config = prepare(machine)
    steps = find_all_steps(machine, command, config)
    assert len(steps) >= 5
    killed = 0
    for number, step in enumerate(steps):
        if command == "DEL":
            machine.add(config)
        killed += call_and_kill(machine, command, config, step)
        remedy(machine, config, remedies[number % len(remedies)])
        assert_open_again(machine)
    assert killed > len(steps) // 2


def prepare(machine: Machine) -> Config:
    """Attach a container whose interface is called as other calls of a machine expect it."""
    machine.plugin = machine.suite.bridge
    result = machine.add(machine.config(ipMasq=False))
    machine.plugin = machine.suite.directory / "firewall"
    return {
        "cniVersion": "1.1.0",
        "name": "net",
        "type": "firewall",
        "ingressPolicy": "isolated",
        "prevResult": result,
    }


def find_all_steps(machine: Machine, command: str, config: Config) -> list[tuple[str, int]]:
    """Return the steps of a call; on a busy machine some come several times, until a lock is had."""
    tries = []
    for _ in range(3):
        if command == "DEL":
            machine.add(config)
        tries.append(find_steps(machine, command, config))
        machine.delete(config)
    return min(tries, key=len)
