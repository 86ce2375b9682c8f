"""A container's namespace that a caller cannot see, because of its own mounts or processes, is not gone."""

import subprocess
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest

from support.ipam import Ipam
from support.suite import Suite

# Its own /run, without the namespaces in it; the directory is where pytest's are not.
OTHER_MOUNTS = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs {hidden} && exec "$@"', "sh")
OTHER_PROCESSES = ("unshare", "-pf", "--mount-proc")
NEITHER = ()


class Caller(Ipam):
    """A network, and the plugin as a process that sees as much of the machine as a test lets it see."""

    program: Path
    hidden: Path

    def execute(
        self, view: tuple[str, ...], command: str, container: str, netns: str, args: str = ""
    ) -> tuple[int, Any]:
        env = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": netns,
            "CNI_ARGS": args,
            "CNI_PATH": str(self.program.parent),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        prefix = [word.format(hidden=self.hidden) for word in view]
        done = subprocess.run(
            [*prefix, str(self.program)],
            env=env,
            input=dumps(self.document()).encode(),
            stdout=subprocess.PIPE,
            check=False,
        )
        return done.returncode, loads(done.stdout) if done.stdout else None


@pytest.fixture
def caller(suite: Suite, tmp_path: Path) -> Caller:
    made = Caller(tmp_path / "networks", {"subnet": "10.1.0.0/30"})  # one address
    made.program = suite.directory / "host-local"
    made.hidden = tmp_path / "namespaces"
    made.hidden.mkdir()
    return made


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
        path = caller.hidden / "living"
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
