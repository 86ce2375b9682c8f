"""Stores on file systems that are full, read-only, or another than that of the index."""

from pathlib import Path

import pytest

from support.ipam_process import Caller
from support.suite import Suite

NETNS = "/proc/self/ns/net"
_MOUNT = "mount -t tmpfs -o size=16k tmpfs {place}"
_FILL = "dd if=/dev/zero of={place}/x bs=4k 2>/dev/null"


def run_in(*commands: str) -> tuple[str, ...]:
    """Return what runs commands, and then the plugin, where mounts are nobody else's."""
    return ("unshare", "-m", "sh", "-c", "; ".join([*commands, 'exec "$@"']), "sh")


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
