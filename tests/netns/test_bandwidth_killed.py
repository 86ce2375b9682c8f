"""A call that is killed, at any instant: what comes next finds and removes everything."""

import pytest

from netns.limited import attach, find_delay_links, find_port, read_qdiscs
from support.killed_calls import call_and_kill, find_steps, remedy
from support.machine import Config, Machine

BOTH: Config = {"ingressRate": 20_000_000, "egressRate": 10_000_000, "cniVersion": "1.1.0"}


def take_steps(machine: Machine, command: str, config: Config) -> list[tuple[str, int]]:
    """Return the steps of a call; on a busy machine some come several times, until a lock is had."""
    tries = []
    for _ in range(3):
        if command == "DEL":
            machine.add(config)
        tries.append(find_steps(machine, command, config))
        machine.delete(config)
    return min(tries, key=len)


def kill_at_every_step(machine: Machine, command: str, remedies: tuple[str, ...]) -> None:
    config = attach(machine) | BOTH
    config["prevResult"] = config["prevResult"] | {"cniVersion": "1.1.0"}
    port, before = find_port(config), machine.snapshot()
    steps = take_steps(machine, command, config)
    assert len(steps) >= 5
    killed = 0
    for number, step in enumerate(steps):
        if command == "DEL":
            machine.add(config)
        killed += call_and_kill(machine, command, config, step)
        remedy(machine, config, remedies[number % len(remedies)])
        assert find_delay_links(machine) == []
        assert machine.snapshot() == before, step
        if remedies[number % len(remedies)] != "GC":
            assert read_qdiscs(machine, port) == []
    assert killed > len(steps) // 2


@pytest.mark.parametrize(
    "remedies",
    [("DEL", "DEL without namespace", "ADD"), pytest.param(("GC",), marks=pytest.mark.long)],
    ids=str,
)
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_every_step(machine: Machine, command: str, remedies: tuple[str, ...]) -> None:
    """GC leaves what is about the container's own link, and goes with it."""
    kill_at_every_step(machine, command, remedies)
