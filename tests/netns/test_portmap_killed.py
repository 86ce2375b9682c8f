"""A call of shibafu-portmap that is killed, at any instant: what comes next finds and removes everything."""

import os
from pathlib import Path

import pytest

from support.killed_calls import call_and_kill, find_steps, remedy
from support.machine import Config, Machine

BACKENDS = pytest.mark.parametrize("backend", ["iptables", "nftables"])


def calc_config(backend: str, address: str, port: int) -> Config:
    """Return what publishes some ports of a container at an address."""
    previous = {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "sandbox": "/run/netns/any"}],
        "ips": [
            {"interface": 0, "address": f"{address}/24"},
            {"interface": 0, "address": f"fd00:10::{address.rpartition('.')[2]}/64"},
        ],
    }
    mappings = [
        {"hostPort": port, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": port + 100, "containerPort": port + 100, "protocol": "udp", "range": 3},
    ]
    return {
        "cniVersion": "1.1.0",
        "name": "net",
        "type": "portmap",
        "backend": backend,
        "runtimeConfig": {"portMappings": mappings},
        "prevResult": previous,
    }


def list_registers(machine: Machine) -> list[Path]:
    return list(Path("/run/shibafu/ports").glob(f"{os.stat(machine.host.path).st_ino}*"))


@BACKENDS
@pytest.mark.parametrize("command", ["ADD", pytest.param("DEL", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "is_alone", [True, pytest.param(False, marks=pytest.mark.long)], ids=["alone", "beside another"]
)
def test_killed_at_every_step(machine: Machine, backend: str, command: str, is_alone: bool) -> None:
    machine.plugin = machine.suite.directory / "portmap"
    config = calc_config(backend, "10.10.0.2", 8080)
    machine.container()
    if not is_alone:
        machine.add(calc_config(backend, "10.10.0.3", 9080), "stays")
    # iptables makes the kernel's chains at its first use.
    machine.add(config)
    machine.delete(config)
    before = machine.snapshot()
    listed = machine.host.run("nft", "list", "ruleset")
    if command == "DEL":
        machine.add(config)
    steps = find_steps(machine, command, config)
    machine.delete(config)
    assert len(steps) >= 5
    remedies = ("DEL", "DEL without namespace", "ADD")
    killed = 0
    for number, step in enumerate(steps):
        if command == "DEL":
            machine.add(config)
        killed += call_and_kill(machine, command, config, step)
        if number % 4 == 3:
            machine.collect_garbage(config, *([] if is_alone else [("stays", "eth0")]))
        else:
            remedy(machine, config, remedies[number % 4])
        assert machine.snapshot() == before, step
        assert machine.host.run("nft", "list", "ruleset") == listed, step
        assert len(list_registers(machine)) == (not is_alone), step
    assert killed > len(steps) // 2
    if not is_alone:
        machine.delete(config, "stays")
        assert list_registers(machine) == []
