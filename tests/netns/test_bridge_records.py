"""Records in /run that cannot be written or named, are something else than files, or were lost."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from shibafu.cni.names import calc_host_veth
from support.machine import Machine
from support.remains import assert_clean, assert_no_rules
from support.traffic import OUTSIDE, UPLINK, Outside, ask_source

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


def lose_attachments(machine: Machine) -> None:
    for path in machine.records.glob("*/veth*"):
        path.unlink()


def lose_everything(machine: Machine) -> None:
    shutil.rmtree(machine.records)


def ask_from(machine: Machine, outside: Outside, container: str) -> str:
    """Return the source address by which the world sees a container, which it answers."""
    client = machine.container(container)
    return ask_source(outside.namespace, OUTSIDE[4], client, socket.SOCK_DGRAM, patience=1)


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
@pytest.mark.parametrize("lose", [lose_attachments, lose_everything])
@pytest.mark.parametrize("command", ["DEL", "GC"])
def test_a_container_whose_record_was_lost_keeps_the_rules(
    machine: Machine, outside: Outside, backend: str, lose: Callable[[Machine], None], command: str
) -> None:
    config = machine.config(ipMasqBackend=backend)
    machine.add(config)
    lose(machine)
    machine.add(config, "c2")
    if command == "DEL":
        machine.delete(config, "c2")
    else:
        machine.collect_garbage(config, ("c1", "eth0"))
    assert ask_from(machine, outside, "c1") == UPLINK[4]
    machine.delete(config)
    assert_no_rules(machine)


def test_the_last_of_those_whose_records_were_lost_takes_the_rules(
    machine: Machine, outside: Outside
) -> None:
    """The first ones' bridge is known only from the record of the rules."""
    config = machine.config()
    moved = machine.config("10.20.0.0/24", bridge="br1")
    for container in ("c1", "c2"):
        machine.add(config, container)
    lose_attachments(machine)
    machine.delete(moved, "c2")
    assert ask_from(machine, outside, "c1") == UPLINK[4]
    machine.delete(moved)
    assert_no_rules(machine)


@pytest.mark.parametrize(
    "keys", [{"macspoofchk": True}, {"internal": True, "isDefaultGateway": None}], ids=str
)
@pytest.mark.parametrize("is_alone", [True, False])
def test_a_container_whose_record_was_lost_keeps_the_rules_of_its_port(
    machine: Machine, keys: dict[str, object], is_alone: bool
) -> None:
    config = machine.config(ipMasq=None, **keys)
    machine.add(config)
    if not is_alone:
        machine.add(config, "c2")
    (record,) = machine.records.glob(f"*/{calc_host_veth('net', 'c1', 'eth0')}")
    record.unlink()
    if is_alone:
        machine.add(config, "c2")
        machine.check(config)
    machine.delete(config, "c2")
    machine.check(config)
    machine.delete(config)
    assert_clean(machine)


def test_another_network_on_the_bridge_does_not_keep_the_rules(machine: Machine, outside: Outside) -> None:
    blue, green = machine.config(name="blue"), machine.config(name="green")
    green["ipam"]["ranges"][0][0]["rangeStart"] = "10.10.0.100"
    machine.add(blue)
    before = machine.rules()
    machine.add(green, "c2")
    machine.delete(green, "c2")
    assert machine.rules() == before
    machine.add(green, "c2")
    machine.delete(blue)
    assert ask_from(machine, outside, "c2") == UPLINK[4]
    machine.delete(green, "c2")
    assert_no_rules(machine)
