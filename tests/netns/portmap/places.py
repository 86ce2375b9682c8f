"""Addresses of what the port plugin's tests publish, and where it remembers what."""

import os
from pathlib import Path

import pytest

from support.machine import Config, Machine

families = pytest.mark.parametrize("version", [4, 6])
protocols = pytest.mark.parametrize("protocol", ["tcp", "udp"])

INSIDE = {4: "10.10.0.2", 6: "fd00:10::2"}
SECOND = {4: "10.10.0.3", 6: "fd00:10::3"}
GATEWAY = {4: "10.10.0.1", 6: "fd00:10::1"}
SECOND_INTERFACE: Config = {"network": "second", "ifname": "eth1"}
REGISTERS = Path("/run/shibafu/ports")
REFERENCE = Path("/usr/lib/cni/portmap")  # Debian's containernetworking-plugins


def find_register(machine: Machine) -> Path:
    """Return the file in which the plugin remembers what a host publishes."""
    return REGISTERS / str(os.stat(machine.host.path).st_ino)


def assert_gone(machine: Machine) -> None:
    """See that no rule is left, and no register."""
    assert machine.rules() == []
    assert machine.tables() == set()
    assert not find_register(machine).exists()
