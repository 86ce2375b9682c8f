"""A container's namespace that a caller cannot see, because of its own mounts or processes, is not gone."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ipam_process import Caller
from support.suite import Suite

# Something else is where the namespaces are.
OTHER_MOUNTS = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs {place} && exec "$@"', "sh")
OTHER_PROCESSES = ("unshare", "-pf", "--mount-proc")
NEITHER = ()


@pytest.fixture
def caller(suite: Suite, tmp_path: Path) -> Caller:
    (tmp_path / "namespaces").mkdir()
    # One address.
    return Caller(suite, tmp_path / "networks", {"subnet": "10.1.0.0/30"}, tmp_path / "namespaces")


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["unshare", "-n", "sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("view", [OTHER_MOUNTS, OTHER_PROCESSES])
def test_a_living_container_keeps_its_address(
    caller: Caller, sleeper: "subprocess.Popen[bytes]", view: tuple[str, ...]
) -> None:
    netns = f"/proc/{sleeper.pid}/ns/net"
    if view is OTHER_MOUNTS:
        path = caller.place / "living"
        path.symlink_to(netns)
        netns = str(path)
    assert caller.execute(NEITHER, "ADD", "living", netns)[0] == 0
    for container, args in (("other", "IP=10.1.0.2"), ("other", ""), ("living", "")):
        status, answer = caller.execute(view, "ADD", container, "/proc/self/ns/net", args)
        assert status == 1, answer
    status, answer = caller.execute(view, "STATUS", "", "")
    assert (status, answer["code"]) == (1, 50)
    assert caller.leases() == {"10.1.0.2": "living/eth0"}


def test_the_address_is_reclaimed_by_those_who_see_that_the_namespace_is_gone(
    caller: Caller, sleeper: "subprocess.Popen[bytes]"
) -> None:
    assert caller.execute(NEITHER, "ADD", "gone", f"/proc/{sleeper.pid}/ns/net")[0] == 0
    sleeper.kill()
    sleeper.wait()
    assert caller.execute(OTHER_PROCESSES, "ADD", "new", "/proc/self/ns/net")[0] == 1
    assert caller.execute(NEITHER, "STATUS", "", "") == (0, None)
    assert caller.execute(NEITHER, "ADD", "new", "/proc/self/ns/net")[0] == 0
    assert caller.leases() == {"10.1.0.2": "new/eth0"}
