"""Callers that the engine does not work for: each call goes cold, its input untouched, and is counted."""

import array
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from json import loads
from pathlib import Path

import pytest

from shibafu.engine.location import EngineLocation
from shibafu.engine.protocol import DESCRIPTORS, HEAD, LIMITS, MAGIC, READY, RLIM_NLIMITS
from support.engine import Engine, tally
from support.ipam_calls import Ipam, in_shell
from support.machine import Machine
from support.waiting import wait_for

pytestmark = pytest.mark.root

NOBODY = 65534
# The folder of the executables is below /tmp: what is put over something else may not hide it.
ELSEWHERE = 'mkdir -p "$ROOT" && mount --rbind / "$ROOT" && '
EMPTY = (
    'mkdir -p "$ROOT" && mount -t tmpfs tmpfs "$ROOT" && for i in bin lib lib64 usr etc proc dev run tmp; '
    'do mkdir "$ROOT/$i" && mount --rbind "/$i" "$ROOT/$i"; done && '
)


UNSHARE = "/usr/bin/unshare"
CALLERS = {
    "user namespace": ((UNSHARE, "--user", "--map-root-user"), "the caller is in another user namespace"),
    "process namespace": (
        (UNSHARE, "--pid", "--fork", "--mount-proc"),
        "the caller is in another process namespace",
    ),
    "process namespace with the /proc of the engine's": (
        (UNSHARE, "--pid", "--fork"),
        "the caller is in another process namespace",
    ),
    "no /proc": (in_shell("mount -t tmpfs tmpfs /proc;", UNSHARE, "--mount"), "no /proc"),
    "fewer capabilities": (
        ("/usr/bin/setpriv", "--bounding-set=-sys_nice"),
        "the caller has fewer capabilities",
    ),
    "little memory": (in_shell("ulimit -v 200000;"), "the caller's memory is limited"),
    "little data": (in_shell("ulimit -d 100000;"), "the caller's memory is limited"),
    "few descriptors": (in_shell("ulimit -n 7;"), "the caller has no descriptor left"),
    "another group": (("/usr/bin/setpriv", "--regid=1", "--clear-groups"), "the caller is not root"),
    "the same root directory, mounted elsewhere": (
        in_shell(ELSEWHERE + 'exec chroot "$ROOT" "$@";', UNSHARE, "--mount"),
        "the caller is in another root directory",
    ),
    "another root directory": (
        in_shell(EMPTY + 'exec chroot "$ROOT" "$@";', UNSHARE, "--mount"),
        "the caller is in another root directory",
    ),
}


@pytest.mark.parametrize("caller", CALLERS)
def test_callers_unlike_the_engine(engine: Engine, ipam: Ipam, tmp_path: Path, caller: str) -> None:
    prefix, reason = CALLERS[caller]
    with engine.expect(f"cold: {reason}"):
        ipam.add(*prefix, env={"ROOT": str(tmp_path / "root")})


def test_large_environment(engine: Engine, ipam: Ipam) -> None:
    with engine.expect("cold: the call is too large"):
        ipam.add(env={"LARGE1": "x" * 120_000, "LARGE2": "x" * 120_000})


def test_callers_that_may_do_more_than_the_engine(own_home: Path, tmp_path: Path) -> None:
    """What it may not do, they would be refused."""
    ipam = Ipam(own_home / "shibafu-ipam", tmp_path / "networks")
    less = ("/usr/bin/setpriv", "--bounding-set=-sys_nice")
    with Engine(own_home, prefix=less) as engine:
        with engine.expect("cold: the caller has more capabilities"):
            ipam.add()
        with engine.expect("served shibafu-ipam DEL"):
            ipam.run(*less, env={"CNI_COMMAND": "DEL"})


@pytest.mark.parametrize("directory", ["/proc/self/fd", "/proc/thread-self/fd", "/dev/fd"])
def test_a_namespace_that_is_a_descriptor(engine: Engine, machine: Machine, directory: str) -> None:
    """Only the caller has it."""
    before = machine.prefix
    machine.prefix = [*before, *in_shell(f'exec 7<"{machine.container().path}" &&')]
    with engine.expect(*["cold: a path is that of the caller's descriptor"] * 2):
        machine.add(machine.config(), CNI_NETNS=f"{directory}/7")
        assert machine.addresses("eth0", machine.container()) == {"10.10.0.2/24"}
        machine.delete(machine.config(), CNI_NETNS=f"{directory}/7")


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (MAGIC, b"shibafu9", "another version of the protocol"),
        (b"\nshibafu-ipam\n", b"\nshibafu-\xc3\xa4xx\n", "unknown program"),
    ],
)
def test_launchers_that_say_something_else(
    engine: Engine, tmp_path: Path, before: bytes, after: bytes, reason: str
) -> None:
    """A launcher of a later version, beside the folder; the name of a program may only be one of ours."""
    name = after.strip().decode()
    cold = engine.home / "_internal/cold"
    ipam = Ipam(tmp_path / "launcher", tmp_path / "networks")
    content = (engine.home / "shibafu-ipam").read_bytes()
    assert content.count(before) == 1
    ipam.program.write_bytes(content.replace(before, after))
    ipam.program.chmod(0o755)
    if b"\n" in before:
        (cold / name).write_bytes((cold / "shibafu-ipam").read_bytes())
    with engine.expect(f"cold: {reason}"):
        ipam.add()


def test_launchers_of_another_build(engine: Engine, tmp_path: Path) -> None:
    """Such as one that started before its folder was replaced, and connects when the new engine listens."""
    build = engine.read_status()["build"].encode()
    content = (engine.home / "shibafu-ipam").read_bytes()
    ipam = Ipam(tmp_path / "launcher", tmp_path / "networks")
    assert content.count(build) == 1
    ipam.program.write_bytes(content.replace(build, build[::-1]))
    ipam.program.chmod(0o755)
    with engine.expect("cold: another build"):
        ipam.add()


@pytest.mark.parametrize("descriptor", [0, 1, 2])
def test_closed_descriptors(engine: Engine, ipam: Ipam, descriptor: int) -> None:
    """The launcher does not even ask: what it would open got the number of what is closed."""
    with engine.expect():
        done = subprocess.run(
            ["/bin/sh", "-c", f'exec "$0" {descriptor}>&-', ipam.program],
            env={"CNI_COMMAND": "VERSION"},
            input=b'{"cniVersion": "0.4.0"}',
            capture_output=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == (1 if descriptor == 1 else 0)
    answer = loads(done.stdout or "null")
    assert (answer and answer["cniVersion"]) == ["1.1.0", None, "0.4.0"][descriptor]


# What somebody else than a launcher says


def connect(engine: Engine) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(10)
    connection.connect(engine.place.calls)
    assert connection.recv(16) == READY
    return connection


def render_call(engine: Engine, program: str = "shibafu-ipam", envc: int = 1) -> bytes:
    build = engine.read_status()["build"].encode()
    strings = [program, "called", "CNI_COMMAND=VERSION"]
    limits = LIMITS.pack(*[-1] * 2 * RLIM_NLIMITS)
    head = HEAD.pack(MAGIC, build, 0, 0o22, 1, envc, limits)
    return head + b"".join(text.encode() + b"\0" for text in strings)


@pytest.mark.parametrize("what", ["nothing", "noise", "descriptors", "more descriptors", "count", "too much"])
def test_malformed_messages(engine: Engine, what: str) -> None:
    files = array.array(
        "i", [0] * {"descriptors": DESCRIPTORS - 1, "more descriptors": 99}.get(what, DESCRIPTORS)
    )
    message = {
        "noise": b"noise",
        "count": render_call(engine, envc=0x7FFFFFFF),
        "too much": render_call(engine) + b"x" * 200_000,
    }.get(what, render_call(engine))
    with engine.expect("cold: malformed"), connect(engine) as connection:
        if what == "nothing":
            connection.shutdown(socket.SHUT_WR)
        else:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, files)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            connection.sendmsg([message], [rights])
        assert connection.recv(16) == b""


def test_programs_that_it_does_not_serve(engine: Engine) -> None:
    files = array.array("i", [0] * DESCRIPTORS)
    with engine.expect("cold: unknown program"), connect(engine) as connection:
        connection.sendmsg([render_call(engine, "os")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
        assert connection.recv(16) == b""


def test_who_connects_and_says_nothing_keeps_nobody_waiting(own_engine: Engine, tmp_path: Path) -> None:
    ipam = Ipam(own_engine.home / "shibafu-ipam", tmp_path / "networks")
    silence = "cold: the caller sends nothing"
    expected = own_engine.expect("served shibafu-ipam ADD", silence, silence)
    with expected, connect(own_engine) as first, connect(own_engine) as second:
        begin = time.monotonic()
        ipam.add()
        assert time.monotonic() - begin < 1.5
        # It gives them up some time, in either order.
        assert first.recv(16) == second.recv(16) == b""


# The socket


def test_the_socket_is_root_s(engine: Engine) -> None:
    for path in (engine.place.calls, engine.place.status):
        found = os.stat(path)
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, 0)
    directory = os.stat(engine.place.directory)
    assert (stat.S_IMODE(directory.st_mode), directory.st_uid) == (0o700, 0)


def test_others_cannot_connect(engine: Engine) -> None:
    script = "import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(sys.argv[1])"
    done = subprocess.run(
        [
            "/usr/bin/setpriv",
            f"--reuid={NOBODY}",
            "--clear-groups",
            "/usr/bin/python3",
            "-c",
            script,
            engine.place.calls,
        ],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert b"PermissionError" in done.stderr


@contextmanager
def listen(place: EngineLocation, uid: int) -> Iterator[socket.socket]:
    """Listen where the engine would, as a process of some user."""
    place.make()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(place.calls)
        os.seteuid(uid)
        try:
            listener.listen()
        finally:
            os.seteuid(0)
        listener.settimeout(10)
        try:
            yield listener
        finally:
            os.unlink(place.calls)


def test_a_socket_of_another_user_is_not_used(own_home: Path, tmp_path: Path) -> None:
    ipam = Ipam(own_home / "shibafu-ipam", tmp_path / "networks")
    with listen(EngineLocation(str(own_home)), NOBODY) as listener:
        ipam.add()
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1 << 20) == b""


def test_nobody_listens_any_more(own_home: Path, tmp_path: Path) -> None:
    ipam = Ipam(own_home / "shibafu-ipam", tmp_path / "networks")
    with listen(EngineLocation(str(own_home)), 0) as listener:
        listener.close()
        ipam.add()


# Engines that do not answer


def test_a_stopped_engine_is_not_waited_for_and_does_nothing_later(
    own_engine: Engine, tmp_path: Path
) -> None:
    ipam = Ipam(own_engine.home / "shibafu-ipam", tmp_path / "networks")
    own_engine.signal_all(signal.SIGSTOP)
    begin = time.monotonic()
    try:
        ipam.add()
        took = time.monotonic() - begin
    finally:
        for pid in (*own_engine.processes(), own_engine.pid):
            os.kill(pid, signal.SIGCONT)
    assert 4.5 < took < 15
    # The call is still in its queue, and refused because nobody waits for the answer.
    wait_for(lambda: tally(own_engine.read_status()) == {"cold: the caller has not waited": 1})
    assert ipam.leases() == ["10.1.0.2"]
    # It is as good as before.
    with own_engine.expect("served shibafu-ipam DEL"):
        ipam.run(env={"CNI_COMMAND": "DEL"})
    assert ipam.leases() == []


def test_a_queue_that_is_full_is_not_waited_for_either(own_home: Path, tmp_path: Path) -> None:
    """The first connection fills it."""
    ipam = Ipam(own_home / "shibafu-ipam", tmp_path / "networks")
    place = EngineLocation(str(own_home))
    with listen(place, 0) as listener, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as first:
        listener.listen(0)
        first.connect(place.calls)
        begin = time.monotonic()
        ipam.add()
        assert 4.5 < time.monotonic() - begin < 15
