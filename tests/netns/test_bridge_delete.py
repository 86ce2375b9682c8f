"""DEL: everything goes, whatever is or is not there any more."""

import os
import subprocess

import pytest

from support.machine import Config, Machine
from support.namespaces import Namespace
from support.remains import assert_clean

CONFIGS = ["nat", "layer2", "plain"]


@pytest.fixture(params=CONFIGS)
def config(machine: Machine, request: pytest.FixtureRequest) -> Config:
    """Networks of several kinds."""
    if request.param == "layer2":
        return machine.layer2()
    return machine.config("10.10.0.0/24", "fd00:10::/64", ipMasq=request.param == "nat")


def test_nothing_is_left_but_the_bridge(machine: Machine, config: Config) -> None:
    machine.add(config)
    machine.delete(config)
    assert set(machine.links(machine.container())) == {"lo"}
    assert_clean(machine)


@pytest.mark.parametrize("netns", ["", None, "/run/netns/never", "/dev/null"])
def test_without_a_usable_namespace(machine: Machine, config: Config, netns: str | None) -> None:
    machine.add(config)
    machine.delete(config, CNI_NETNS=netns)
    assert_clean(machine)
    machine.delete(config, CNI_NETNS=netns)


def test_prev_result_is_taken_and_not_needed(machine: Machine, config: Config) -> None:
    result = machine.add(config)
    machine.delete(config | {"prevResult": result})
    assert_clean(machine)
    machine.delete(config | {"prevResult": result})


def test_any_number_of_times(machine: Machine, config: Config) -> None:
    machine.add(config, "c1")
    machine.add(config, "c2")
    for _ in range(3):
        machine.delete(config, "c1")
    machine.check(config, "c2")
    for _ in range(3):
        machine.delete(config, "c2")
    assert_clean(machine)


def test_of_a_container_that_was_never_attached(machine: Machine, config: Config) -> None:
    machine.container("never")
    before = machine.snapshot()
    machine.delete(config, "never")
    assert machine.snapshot() == before
    machine.add(config, "c1")
    before = machine.snapshot()
    machine.delete(config, "never")
    machine.delete(config, "c1", "eth7")
    assert machine.snapshot() == before
    machine.check(config, "c1")


def test_after_the_namespace_vanished(machine: Machine, config: Config) -> None:
    with Namespace("short") as short:
        path = short.path
        machine.add(config, CNI_NETNS=path)
    # The kernel takes the links away in its own time.
    machine.delete(config, CNI_NETNS=path)
    assert_clean(machine)


def test_while_processes_keep_the_namespace(machine: Machine, config: Config) -> None:
    """The runtime has unmounted it, but a process of the container is not quite dead."""
    short = Namespace("short")
    holder = subprocess.Popen(["nsenter", f"--net={short.path}", "sleep", "60"])
    try:
        machine.add(config, CNI_NETNS=short.path)
        # until the process is inside
        while os.stat(f"/proc/{holder.pid}/ns/net").st_ino != os.stat(short.path).st_ino:
            pass
        short.delete()
        machine.delete(config, CNI_NETNS=short.path)
        assert_clean(machine)
    finally:
        holder.kill()
        holder.wait()


def test_after_an_administrator_has_been_there(machine: Machine, config: Config) -> None:
    result = machine.add(config)
    machine.host.run("ip", "link", "del", result["interfaces"][1]["name"])
    machine.delete(config)
    assert_clean(machine)


def test_without_the_bridge(machine: Machine, config: Config) -> None:
    machine.add(config)
    machine.host.run("ip", "link", "del", "br0")
    machine.delete(config)
    machine.host.run("ip", "link", "add", "br0", "type", "bridge")
    assert_clean(machine)


def lose_records(machine: Machine) -> None:
    for path in sorted(machine.records.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def test_without_the_records(machine: Machine, config: Config) -> None:
    """/run was emptied: names are computed, so that all is found."""
    machine.add(config)
    lose_records(machine)
    machine.delete(config)
    assert_clean(machine)


@pytest.mark.parametrize(
    "keys",
    [
        {"macspoofchk": True},
        {"isolate": True, "ipMasq": False},
        {"isolate": "strict"},
        {"ipMasqBackend": "nftables", "isolate": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("netns", [{}, {"CNI_NETNS": ""}], ids=str)
def test_rules_whose_record_was_lost(machine: Machine, keys: Config, netns: Config) -> None:
    config = machine.config("10.10.0.0/24", "fd00:10::/64", **keys)
    machine.add(config, "c1")
    machine.add(config, "c2")
    before = machine.rules(), machine.tables()
    lose_records(machine)
    machine.delete(config, "c1", **netns)
    assert (machine.rules(), machine.tables()) == before, "the neighbour needs them"
    machine.check(config, "c2")
    machine.delete(config, "c2", **netns)
    assert_clean(machine)


def test_rules_whose_record_was_lost_and_the_link_went_by_itself(machine: Machine, config: Config) -> None:
    config = config | {"macspoofchk": True}
    machine.add(config)
    lose_records(machine)
    machine.container().run("ip", "link", "del", "eth0")
    machine.delete(config)
    assert_clean(machine)


@pytest.mark.parametrize("command", ["DEL", "GC"])
def test_torn_records(machine: Machine, config: Config, command: str) -> None:
    config = config | {"macspoofchk": True}
    machine.add(config)
    for path in machine.records.glob("net/*"):
        path.write_text("{")
    if command == "DEL":
        machine.delete(config)
    else:
        machine.collect_garbage(config)
    assert_clean(machine)


def test_two_at_once(machine: Machine, config: Config) -> None:
    """containerd repeats a DEL that takes long while the first is still running."""
    machine.add(config)
    calls = [machine.start("DEL", config) for _ in range(4)]
    assert [call.finish().status for call in calls] == [0, 0, 0, 0]
    assert_clean(machine)


def test_what_cannot_be_removed_is_told_and_the_rest_is_removed(machine: Machine) -> None:
    config = machine.config()
    machine.add(config)
    broken = machine.directory / "cni"
    broken.mkdir()
    (broken / "host-local").write_text('#!/bin/sh\necho \'{"code": 11, "msg": "not now"}\'; exit 1\n')
    (broken / "host-local").chmod(0o755)
    error = machine.fail(config, command="DEL", CNI_PATH=str(broken))
    assert (error["code"], error["msg"]) == (11, "not now")
    assert set(machine.links()) == {"lo", "br0"}
    assert machine.rules() == []
    machine.delete(config)
    assert_clean(machine)


def test_the_hosts_own_namespace_is_refused(machine: Machine) -> None:
    config = machine.config()
    before = machine.snapshot()
    for command in ("ADD", "DEL"):
        error = machine.fail(config, command=command, CNI_NETNS=machine.host.path)
        assert error["code"] == 8
        assert error["msg"] == "plugin's netns and netns from CNI_NETNS should not be the same"
    assert machine.snapshot() == before


def test_an_attachment_on_another_network_is_kept(machine: Machine) -> None:
    """A runtime sends DEL after a failed ADD: it must not take away what made the ADD fail."""
    one = machine.config(name="one")
    two = machine.config("10.20.0.0/24", name="two", bridge="br1")
    machine.add(one)
    machine.fail(two)
    machine.delete(two)
    machine.check(one)


def test_an_interface_that_is_no_veth_is_kept(machine: Machine) -> None:
    config = machine.config()
    machine.container().run("ip", "link", "add", "eth0", "type", "bridge")
    machine.fail(config)
    machine.delete(config)
    assert "eth0" in machine.links(machine.container())


@pytest.mark.parametrize(
    "keys",
    [
        {"vlan": 4095},
        {"vlanTrunk": [{"id": 0}]},
        {"mtu": "1500"},
        {"hairpinMode": "true"},
        {"dns": {"nameservers": "1.1.1.1"}},
        {"enabledad": 1, "macspoofchk": "yes", "isGateway": {}},
    ],
    ids=str,
)
@pytest.mark.parametrize("command", ["DEL", "GC"])
def test_a_configuration_that_went_bad(machine: Machine, command: str, keys: Config) -> None:
    config = machine.config("10.10.0.0/24", "fd00:10::/64")
    machine.add(config)
    if command == "DEL":
        machine.delete(config | keys)
    else:
        machine.collect_garbage(config | keys)
    assert_clean(machine)
