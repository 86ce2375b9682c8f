"""Waiting, which always ends: for other plugins, and for locks, be they held by a container or a user."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import shibafu
import shibafu_ipam
from support.command import CommandLine
from support.machine import Config, Machine
from support.suite import Suite

TRY_AGAIN_LATER = 11
LOCKS = Path("/run/shibafu/locks")

# Runs the plugin whose path is the only argument, with less patience than it has.
_IMPATIENT = """
import sys
sys.path[:0] = {roots!r}
sys.argv = sys.argv[1:]
from shibafu.cni import delegate, lock
delegate.delegate.__defaults__ = (1.0,)
lock.lock_file.__defaults__ = (1.0,)
lock.Lock.__init__.__defaults__ = (*lock.Lock.__init__.__defaults__[:-1], 1.0)
from shibafu.bridge.__main__ import main
main()
"""


@pytest.fixture
def impatient(machine: Machine) -> list[str]:
    """What to start a plugin with, so that a second is long for it."""
    roots = [str(Path(package.__path__[0]).parent) for package in (shibafu, shibafu_ipam)]
    return ["/usr/bin/python3", "-IS", "-c", _IMPATIENT.format(roots=roots)]


def make_hanging_ipam(machine: Machine, command: str) -> str:
    """Return a CNI_PATH whose IPAM plugin never answers one command, nor lets itself be told to end."""
    pids = machine.directory / "pids"
    hang = f"trap '' TERM; sleep 600 & echo $$ $! >>{pids}; wait; sleep 600"
    return machine.make_plugin(f'if [ "$CNI_COMMAND" = {command} ]; then {hang}; fi; exec $REAL')


def assert_nothing_hangs(machine: Machine) -> None:
    for pid in (machine.directory / "pids").read_text().split():
        deadline = time.monotonic() + 10
        while Path("/proc", pid, "exe").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize(
    "command",
    ["ADD", "DEL", *(pytest.param(command, marks=pytest.mark.long) for command in ("CHECK", "GC", "STATUS"))],
)
def test_an_ipam_plugin_that_hangs(machine: Machine, impatient: list[str], command: str) -> None:
    config = machine.config()
    if command != "ADD":
        machine.add(config)
    path = make_hanging_ipam(machine, command)
    stale: Config = {"cni.dev/valid-attachments": []} if command == "GC" else {}
    machine.prefix = impatient
    begin = time.monotonic()
    error = machine.fail(config | stale, command=command, CNI_PATH=path)
    assert time.monotonic() - begin < 10
    assert error["code"] == TRY_AGAIN_LATER
    assert f'plugin "host-local" did not answer {command} within 1 seconds' in error["msg"]
    assert_nothing_hangs(machine)
    machine.prefix = []
    machine.delete(config)
    assert machine.leases() == set()
    assert machine.rules() == []


def test_a_network_whose_last_del_hangs_is_free_again(machine: Machine, impatient: list[str]) -> None:
    """DEL of the last container holds the network's lock while it asks the IPAM plugin."""
    config = machine.config()
    machine.add(config)
    path = make_hanging_ipam(machine, "DEL")
    machine.prefix = impatient
    hanging = machine.start("DEL", config, CNI_PATH=path)
    time.sleep(0.3)
    machine.prefix = []
    machine.add(config, "c2")
    assert hanging.finish().json["code"] == TRY_AGAIN_LATER
    machine.check(config, "c2")
    machine.delete(config)
    machine.delete(config, "c2")
    assert machine.rules() == []


@contextmanager
def holding(path: Path, *prefix: str) -> Iterator[int]:
    """Have another process lock a file for as long as the block lasts; yield its number."""
    process = subprocess.Popen(
        [*prefix, "/usr/bin/flock", "--close", str(path), "/bin/sh", "-c", "echo held; exec sleep 600"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        process.stdout.close()


@pytest.mark.parametrize("lock", ["network", "store", "namespace"])
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_a_lock_that_is_held_for_long(
    machine: Machine, impatient: list[str], lock: str, command: str
) -> None:
    if (lock, command) == ("namespace", "DEL"):
        pytest.skip("DEL needs no namespace")
    config = machine.config()
    machine.add(config)
    if command == "ADD":
        machine.add(config, "c2")
        machine.delete(config)
    found = os.stat(machine.container().path)
    path, what = {
        "network": (machine.records / "net" / "lock", "network net"),
        "store": (machine.data_dir / "net" / "lock", f"address store {machine.data_dir}/net"),
        "namespace": (
            LOCKS / f"netns-{found.st_dev}-{found.st_ino}",
            f"network namespace {machine.container().path}",
        ),
    }[lock]
    before = machine.leases()
    path.touch(0o600)
    machine.prefix = impatient
    with holding(path) as pid:
        error = machine.fail(config, command=command)
    assert error["code"] == TRY_AGAIN_LATER
    assert f"{what} has been locked for 1 seconds by process {pid} (flock)" in error["msg"]
    assert str(path) in error["details"]
    if command == "ADD":
        assert machine.leases() == before
    machine.prefix = []
    machine.delete(config)
    machine.delete(config, "c2")
    assert machine.rules() == []
    assert machine.leases() == set()
    # As after a call that was killed: it locks nobody out, and the next one deletes it.
    machine.add(config)
    assert not list(LOCKS.glob(f"netns-*-{found.st_ino}"))


@pytest.fixture
def locked_inside(machine: Machine) -> Iterator[Path]:
    """A container that has locked its own network namespace, by the file that it has of it."""
    container = machine.container()
    with holding(Path("/proc/self/ns/net"), "/usr/bin/nsenter", f"--net={container.path}"):
        with open(container.path) as namespace, pytest.raises(BlockingIOError):
            fcntl.flock(namespace, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Path(container.path)


def test_a_container_that_locks_its_namespace_stops_no_plugin(machine: Machine, locked_inside: Path) -> None:
    config = machine.config()
    begin = time.monotonic()
    for ifname in ("eth0", "eth1"):
        machine.add(config, ifname=ifname)
        machine.check(config, ifname=ifname)
    machine.collect_garbage(config, ("c1", "eth0"))
    machine.delete(config)
    assert time.monotonic() - begin < 20
    assert machine.leases() == set()
    found = os.stat(locked_inside)
    assert not list(LOCKS.glob(f"netns-*-{found.st_ino}"))


def test_a_container_that_locks_its_namespace_stops_no_command(
    machine: Machine, suite: Suite, locked_inside: Path, tmp_path: Path
) -> None:
    with CommandLine(suite, machine.host, tmp_path) as command:
        command("network create web --subnet 10.77.0.0/24")
        command(f"network connect web {locked_inside}")
        command("network gc")
        command("network check web")
        command(f"network disconnect web {locked_inside}")
        command("network rm web")


# What others can write to, and what a caller's umask makes of it.


def run_as_nobody(script: str) -> "subprocess.CompletedProcess[str]":
    argv = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script]
    return subprocess.run(argv, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_nothing_is_writable_to_others_whatever_the_umask(machine: Machine, umask: str) -> None:
    config = machine.config()
    data_dir = machine.directory / "deep" / "below" / "networks"
    config["ipam"]["dataDir"] = str(data_dir)
    machine.prefix = ["/bin/sh", "-c", f'umask {umask}; exec "$@"', "sh"]
    machine.add(config)
    made = [*machine.directory.glob("deep"), *(machine.directory / "deep").rglob("*")]
    made += [machine.records, *machine.records.rglob("*"), LOCKS.parent, LOCKS]
    assert len(made) > 12
    # Of a symbolic link, the directory's mode says who can replace it.
    modes = {path: path.stat().st_mode & 0o7777 for path in made if not path.is_symlink()}
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o022} == {}
    assert {modes[path] for path in (data_dir, data_dir.parent, data_dir / "net")} == {0o755}
    assert {modes[path] for path in (machine.records, machine.records / "net", LOCKS)} == {0o700}
    machine.delete(config)


def test_what_an_earlier_version_left_to_everybody_is_mended(machine: Machine) -> None:
    """As a caller's umask of 0 had it: a user could put anything in place of the store and of locks."""
    config = machine.config()
    machine.add(config)
    wide = [machine.records, machine.records / "net", machine.data_dir, machine.data_dir / "net"]
    for path in wide:
        path.chmod(0o777)
    machine.add(config, "c2")
    for path in wide:
        assert path.stat().st_mode & 0o022 == 0, path
    machine.delete(config)
    machine.delete(config, "c2")


def test_a_user_cannot_hold_locks(machine: Machine) -> None:
    config = machine.config()
    machine.prefix = ["/bin/sh", "-c", 'umask 0; exec "$@"', "sh"]
    machine.add(config)
    found = os.stat(machine.container("c2").path)
    for path in (
        machine.records / "net" / "lock",
        machine.data_dir / "net" / "lock",
        LOCKS / "network-net",
        LOCKS / f"netns-{found.st_dev}-{found.st_ino}",
    ):
        for redirection in ("<", ">", ">>"):
            done = run_as_nobody(f"exec 9{redirection}{path}; flock --nonblock 9; exec sleep 600")
            assert done.returncode != 0
            assert "ermission denied" in done.stderr, done.stderr
    machine.add(config, "c2")
    machine.delete(config)
    machine.delete(config, "c2")


@pytest.mark.parametrize("place", ["records", "store"])
def test_what_a_user_has_put_there_is_refused(machine: Machine, place: str) -> None:
    config = machine.config()
    squatted = machine.records if place == "records" else machine.data_dir / "net"
    squatted.mkdir(parents=True)
    os.chown(squatted, 65534, 65534)
    for command in ("ADD", "DEL"):
        error = machine.fail(config, command=command)
        assert f"{squatted} belongs to user 65534" in error["msg"]
        assert "remove it" in error["details"]
    squatted.rmdir()
    machine.add(config)
    machine.delete(config)
