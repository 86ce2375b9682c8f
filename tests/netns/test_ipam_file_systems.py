"""Stores on file systems that are full, read-only, or another than that of the index."""

from pathlib import Path

import pytest

from support.ipam_process import Caller
from support.suite import Suite

NETNS = "/proc/self/ns/net"
_MOUNT = "mount -t tmpfs -o size=16k tmpfs {place}"
_FILL = "dd if=/dev/zero of={place}/x bs=4k 2>/dev/null"


def run_in(*commands: str, then: str = "true") -> tuple[str, ...]:
    """Return what runs commands, the plugin, and one more command, where mounts are nobody else's."""
    script = "; ".join([*commands, '"$@"', "status=$?", then, "exit $status"])
    return ("unshare", "-m", "sh", "-c", script, "sh")


@pytest.fixture
def caller(suite: Suite, tmp_path: Path) -> Caller:
    (tmp_path / "networks").mkdir()
    return Caller(suite, tmp_path / "networks", {"subnet": "10.1.0.0/24"}, tmp_path / "networks")


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        ((_MOUNT, _FILL), "no space left on device"),
        (("mount -t tmpfs -o nr_inodes=1 tmpfs {place}",), "no space left on device"),
        ((_MOUNT, "mount -o remount,ro {place}"), "not writable"),
        ((_MOUNT, "mkdir {place}/net {place}/.shibafu", _FILL), "no space left on device"),
    ],
)
def test_status_says_that_nothing_can_be_written(
    caller: Caller, commands: tuple[str, ...], reason: str
) -> None:
    status, answer = caller.execute(run_in(*commands), "STATUS", "", "")
    assert (status, answer["code"]) == (1, 50)
    assert answer["msg"].startswith(f"cannot use dataDir: {caller.place}")
    assert answer["msg"].endswith(reason)
    status, answer = caller.execute(run_in(*commands), "ADD", "c1", NETNS)
    assert (status, answer["code"]) == (1, 5)


@pytest.mark.parametrize(
    "commands",
    [
        (_MOUNT, _FILL),
        ("mount -t tmpfs -o nr_inodes=1 tmpfs {place}",),
        (_MOUNT, "mkdir {place}/net {place}/.shibafu", _FILL),
        (_MOUNT, "mount -o remount,ro {place}"),
        (_MOUNT, "mkdir {place}/net", "mount -o remount,ro {place}"),
        ("mkdir {place}/net",),
    ],
)
@pytest.mark.parametrize("command", ["DEL", "GC"])
def test_where_no_lease_was_ever_made_nothing_is_removed_and_nothing_made(
    caller: Caller, commands: tuple[str, ...], command: str, tmp_path: Path
) -> None:
    caller.config["cni.dev/valid-attachments"] = []
    before, after = tmp_path / "before", tmp_path / "after"
    listing = "find {place} >"
    prefix = run_in(*commands, f"{listing}{before}", then=f"{listing}{after}")
    assert caller.execute(prefix, command, "c1", "") == (0, None)
    assert before.read_text() == after.read_text()


def make_store(caller: Caller) -> tuple[str, ...]:
    """Make a store with two leases; return what puts it on a file system of its own."""
    for container in ("c1", "c2"):
        assert caller.execute((), "ADD", container, NETNS)[0] == 0
    away = caller.place.parent
    for name in ("net", ".shibafu"):
        (caller.place / name).rename(away / name)
    return (_MOUNT.replace("16k", "1m"), f"cp -a {away}/net {away}/.shibafu {{place}}")


@pytest.mark.parametrize("disturb", ["true", "touch {place}/net", "rm {place}/net/lock"])
@pytest.mark.parametrize("command", ["DEL", "GC"])
def test_leases_go_though_the_disk_is_full(
    caller: Caller, command: str, disturb: str, tmp_path: Path
) -> None:
    caller.config["cni.dev/valid-attachments"] = [{"containerID": "c2", "ifname": "eth0"}]
    leases = tmp_path / "leases"
    prefix = run_in(*make_store(caller), disturb, _FILL, then=f"ls {{place}}/net >{leases}")
    assert caller.execute(prefix, command, "c1", "") == (0, None)
    assert [name for name in leases.read_text().split() if name.startswith("10.")] == ["10.1.0.3"]


@pytest.mark.parametrize("command", ["DEL", "GC"])
def test_leases_that_cannot_go_are_named(caller: Caller, command: str) -> None:
    prefix = run_in(*make_store(caller), "mount -o remount,ro {place}")
    caller.config["cni.dev/valid-attachments"] = []
    status, answer = caller.execute(prefix, command, "c1", "")
    assert (status, answer["code"]) == (1, 5)
    assert f"{caller.place}/net/10.1.0.2: read-only file system" in answer["msg"]
    assert caller.execute(prefix, "DEL", "unknown", "") == (0, None)
    assert caller.execute(prefix, "CHECK", "c1", NETNS) == (0, None)


def test_status_leaves_nothing(caller: Caller) -> None:
    assert caller.execute((), "STATUS", "", "") == (0, None)
    assert not list(caller.place.iterdir())
    assert caller.execute((), "ADD", "c1", NETNS)[0] == 0
    before = sorted(caller.place.rglob("*"))
    assert caller.execute((), "STATUS", "", "") == (0, None)
    assert sorted(caller.place.rglob("*")) == before
    assert caller.is_index_valid()


def test_a_network_whose_directory_is_a_mount(caller: Caller) -> None:
    prefix = run_in("mkdir {place}/net", "mount -t tmpfs tmpfs {place}/net")
    status, answer = caller.execute(prefix, "ADD", "c1", NETNS)
    assert status == 0, answer
    assert answer["ips"][0]["address"] == "10.1.0.2/24"
