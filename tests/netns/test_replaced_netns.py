"""A container's namespace is gone without DEL, and another one is at its path.

`ip netns del` and `ip netns add` do that, as does Docker when it starts a container again, and the kernel
where it gives a process's number to another one.
"""

import os
import subprocess
from collections.abc import Iterator

import pytest

from netns.replacement import Replacement
from shibafu.resource.identity import NetnsIdentity, identify_netns
from support.command import CommandLine
from support.machine import Machine
from support.namespaces import Namespace
from support.traffic import can_reach


@pytest.fixture
def web() -> Iterator[Namespace]:
    with Namespace("web") as namespace:
        yield namespace


# Identity


def test_a_namespace_that_is_there_has_not_ended(web: Namespace) -> None:
    seen = identify_netns(web.path)
    assert seen is not None
    assert seen.inode == os.stat(web.path).st_ino
    assert seen.cookie
    assert not seen.has_ended()
    kept = NetnsIdentity.from_json(web.path, seen.to_json())
    assert kept is not None
    assert not kept.has_ended()


def test_another_namespace_at_the_path(replacement: Replacement, web: Namespace) -> None:
    seen = identify_netns(web.path)
    assert seen is not None
    replacement.replace(web)
    if replacement.has_same_inode:
        seen.inode = os.stat(web.path).st_ino
    assert seen.has_ended()


def test_nothing_at_the_path(web: Namespace) -> None:
    seen = identify_netns(web.path)
    assert seen is not None
    web.delete()
    assert seen.has_ended()
    assert identify_netns(web.path) is None


def test_another_namespace_of_the_same_process() -> None:
    """What shows at a process's path when its number was given out again."""
    script = 'echo ready; read -r line; exec unshare --net sh -c "echo gone; sleep 60"'
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        seen = identify_netns(f"/proc/{process.pid}/ns/net")
        assert seen is not None
        assert seen.processes == os.stat("/proc/self/ns/pid").st_ino
        assert not seen.has_ended()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "gone\n"
        assert seen.has_ended()
        # For whom processes have other numbers, the path is of another process.
        seen.processes += 1
        assert not seen.has_ended()
        process.kill()


def test_without_cookies_the_inode_decides(replacement: Replacement, web: Namespace) -> None:
    seen = identify_netns(web.path)
    assert seen is not None
    seen.cookie = None
    replacement.replace(web)
    if replacement.has_same_inode:
        seen.inode = os.stat(web.path).st_ino
    assert seen.has_ended() is not replacement.has_same_inode


def test_no_namespace_outlives_its_boot(web: Namespace) -> None:
    seen = identify_netns(web.path)
    assert seen is not None
    seen.boot = "00000000-0000-4000-8000-000000000000"
    assert seen.has_ended()


@pytest.mark.parametrize("value", [None, 1, "x", {}, {"inode": "1"}, {"inode": 1, "boot": 1, "processes": 0}])
def test_what_is_no_identity(value: object) -> None:
    assert NetnsIdentity.from_json("/run/netns/x", value) is None


# Addresses


def test_the_address_of_a_namespace_that_was_replaced(replacement: Replacement, machine: Machine) -> None:
    config = machine.config("10.10.0.0/30")
    machine.add(config)
    replacement.replace(machine.container(), machine.data_dir, machine.records)
    result = machine.add(config, "c2")
    assert result["ips"][0]["address"] == "10.10.0.2/30"
    assert machine.leases() == {"net/10.10.0.2"}


def test_add_while_the_replaced_namespace_is_kept(replacement: Replacement, machine: Machine) -> None:
    """By a process that has it open; until the kernel has taken it apart, it is no different."""
    config = machine.config("10.10.0.0/30")
    machine.add(config)
    kept = os.open(machine.container().path, os.O_RDONLY)
    replacement.replace(machine.container(), machine.data_dir, machine.records)
    result = machine.add(config)
    os.close(kept)
    assert result["ips"][0]["address"] == "10.10.0.2/30"
    assert can_reach(machine.host, "10.10.0.1", machine.container())


# The command


def connect(shibafu: CommandLine, network: str, container: Namespace) -> tuple[str, str]:
    """Connect a container; return its interface and its address."""
    answer = shibafu.json(f"network connect {network} {container.name}")
    return answer["ifname"], answer["result"]["ips"][0]["address"].partition("/")[0]


def test_connect_after_the_namespace_was_replaced(
    replacement: Replacement, shibafu: CommandLine, host: Namespace, web: Namespace
) -> None:
    shibafu("network create blue --subnet 10.66.0.0/30")
    assert connect(shibafu, "blue", web) == ("eth0", "10.66.0.2")
    replacement.replace(web, shibafu.store, shibafu.records)
    assert connect(shibafu, "blue", web) == ("eth0", "10.66.0.2")
    assert can_reach(host, "10.66.0.1", web)
    (endpoint,) = shibafu.json("network inspect blue")[0]["endpoints"]
    assert endpoint["state"] == "up"
    shibafu(f"network disconnect blue {web.name}")
    assert shibafu.json("ipam ls blue") == []


def test_gc_after_the_namespace_was_replaced(
    replacement: Replacement, shibafu: CommandLine, web: Namespace
) -> None:
    shibafu("network create blue --subnet 10.66.0.0/24")
    connect(shibafu, "blue", web)
    replacement.replace(web, shibafu.store, shibafu.records)
    assert shibafu.json("network inspect blue")[0]["endpoints"][0]["state"] == "namespace gone"
    web.run("ip", "link", "add", "eth0", "type", "bridge")
    assert web.name in shibafu("network gc blue")
    assert shibafu.json("network inspect blue")[0]["endpoints"] == []
    assert shibafu.json("ipam ls blue") == []
    # What is called alike in the other namespace is not its interface.
    assert web.run("ip", "-br", "link", "show", "eth0")


def test_nothing_is_repaired_for_a_namespace_that_was_replaced(
    replacement: Replacement, shibafu: CommandLine, web: Namespace
) -> None:
    shibafu("network create blue --subnet 10.66.0.0/24")
    connect(shibafu, "blue", web)
    replacement.replace(web, shibafu.store, shibafu.records)
    shibafu("network repair blue")
    assert "eth0" not in web.run("ip", "-br", "link")
