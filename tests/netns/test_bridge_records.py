"""Records in /run that cannot be written or named, or are something else than files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.machine import Machine

UNWRITABLE = {
    "read-only": ("mkdir -p /run/shibafu", "mount -t tmpfs -o ro none /run/shibafu"),
    "full": ("mkdir -p /run/shibafu", "mount -t tmpfs -o nr_inodes=1 none /run/shibafu"),
}
READ_ONLY = ("mount --bind /run/shibafu /run/shibafu", "mount -o remount,bind,ro /run/shibafu")
ODD: dict[str, Callable[[Path], object]] = {
    "directory": Path.mkdir,
    "fifo": os.mkfifo,
    "dangling link": lambda path: path.symlink_to("/nonexistent"),
}


@pytest.mark.parametrize("what", UNWRITABLE)
def test_an_add_says_what_to_change_and_leaves_nothing(machine: Machine, what: str) -> None:
    config = machine.config()
    before = machine.snapshot()
    machine.container()
    machine.hide(*UNWRITABLE[what])
    error = machine.fail(config)
    assert error["code"] == 5
    assert "/run/shibafu" in error["msg"]
    assert "Errno" not in error["msg"]
    assert error["details"]
    machine.prefix = []
    assert machine.snapshot() == before


@pytest.mark.parametrize("what", ["read-only", "full"])
def test_a_del_of_what_was_never_attached_succeeds(machine: Machine, what: str) -> None:
    config = machine.config()
    machine.container()
    machine.hide(*UNWRITABLE[what])
    machine.delete(config)
    machine.collect_garbage(config)


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_a_del_does_all_it_can_where_records_cannot_be_removed(machine: Machine, backend: str) -> None:
    config = machine.config(ipMasqBackend=backend)
    before = machine.snapshot()
    machine.add(config)
    machine.hide(*READ_ONLY)
    error = machine.fail(config, command="DEL")
    assert error["code"] == 5
    assert "read-only file system" in error["msg"]
    assert "Errno" not in error["msg"]
    machine.prefix = []
    after = machine.snapshot()
    for what in ("leases", "rules", "tables", "containers"):
        assert after[what] == before[what], what
    machine.delete(config)
    assert not machine.remembered()


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", ["veth*", "firewall", "lock"])
@pytest.mark.parametrize("command", ["DEL", "GC"])
def test_what_is_no_record_keeps_nothing_from_being_removed(
    machine: Machine, name: str, kind: str, command: str
) -> None:
    config = machine.config()
    before = machine.snapshot()
    machine.add(config)
    (odd,) = machine.records.glob(f"*/{name}")
    odd.unlink()
    ODD[kind](odd)
    machine.add(config, "c2")
    machine.check(config)
    machine.delete(config, "c2")
    if command == "DEL":
        machine.delete(config)
    else:
        machine.collect_garbage(config)
    after = machine.snapshot()
    for what in ("leases", "rules", "tables", "records"):
        assert after[what] == before[what], what


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
@pytest.mark.parametrize("length", [112, 239, 255])
def test_a_network_with_a_long_name(machine: Machine, backend: str, length: int) -> None:
    config = machine.config(name="n" * length, ipMasqBackend=backend, macspoofchk=True, isolate=True)
    before = machine.snapshot()
    machine.add(config)
    machine.check(config)
    machine.add(config, "c2")
    machine.collect_garbage(config, ("c2", "eth0"))
    machine.delete(config, "c2")
    after = machine.snapshot()
    for what in ("leases", "rules", "tables", "records"):
        assert after[what] == before[what], what


def test_a_network_whose_name_is_too_long(machine: Machine) -> None:
    config = machine.config(name="n" * 256, macspoofchk=True)
    before = machine.snapshot()
    for command in ("ADD", "STATUS"):
        error = machine.fail(config, command=command)
        assert (error["code"], error["msg"]) == (7, "network name is too long: it has 256 characters")
    machine.delete(config)
    machine.collect_garbage(config)
    assert machine.snapshot() == before
