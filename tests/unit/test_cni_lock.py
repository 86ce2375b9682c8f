"""Locks between processes, tried in threads: flock(2) is of open files, not of processes."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import pytest

import shibafu
from shibafu.cni.errors import TRY_AGAIN_LATER, CniError
from shibafu.cni.lock import Lock


def is_free(name: str, directory: Path, shared: bool = False) -> bool:
    """Return whether a lock can be had; who waits for it gets it at the end of the test."""
    got = Event()

    def take() -> None:
        with Lock(name, name, shared, str(directory)):
            got.set()

    Thread(target=take, daemon=True).start()
    return got.wait(0.2)


@pytest.mark.parametrize(
    ("held_shared", "wanted_shared", "free"),
    [(False, False, False), (False, True, False), (True, False, False), (True, True, True)],
)
def test_exclusion(tmp_path: Path, held_shared: bool, wanted_shared: bool, free: bool) -> None:
    with Lock("net", "net", held_shared, str(tmp_path)):
        assert is_free("net", tmp_path, wanted_shared) is free
        assert is_free("other", tmp_path)
    assert is_free("net", tmp_path)


def test_the_holder_may_enter_again(tmp_path: Path) -> None:
    lock = Lock("net", "net", directory=str(tmp_path))
    with lock:
        with lock:
            pass
        assert not is_free("net", tmp_path)
    assert is_free("net", tmp_path)


def test_nothing_is_left(tmp_path: Path) -> None:
    directory = tmp_path / "locks"
    with Lock("a", "a", True, str(directory)):
        with Lock("a", "a", True, str(directory)), Lock("b", "b", False, str(directory)):
            assert {path.name for path in directory.iterdir()} == {"a", "b"}
        assert {path.name for path in directory.iterdir()} == {"a"}
    assert list(directory.iterdir()) == []


def test_what_a_killed_process_left_locks_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "net").touch()
    with Lock("net", "net", directory=str(tmp_path)):
        pass
    assert list(tmp_path.iterdir()) == []


_HOLDER = """
import os, sys, time
sys.path.insert(0, {plugins!r})
from shibafu.cni.lock import Lock
with Lock("net", "net", directory={directory!r}):
    os.posix_spawn("/bin/sleep", ["sleep", sys.argv[1]], {{}})
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
print("left", flush=True)
time.sleep(5)
"""


def start_holder(directory: Path, child: float, holding: float) -> "subprocess.Popen[str]":
    """Start a process that holds the lock for a time and has a child for another."""
    source = _HOLDER.format(plugins=str(Path(shibafu.__path__[0]).parent), directory=str(directory))
    argv = [sys.executable, "-c", source, str(child), str(holding)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_what_a_killed_holder_has_started_goes_on_holding(tmp_path: Path) -> None:
    with start_holder(tmp_path, child=0.8, holding=5) as process:
        process.kill()
        process.wait()
        assert not is_free("net", tmp_path)
        sleep(1)
        assert is_free("net", tmp_path)


def test_what_a_holder_leaves_running_does_not(tmp_path: Path) -> None:
    with start_holder(tmp_path, child=2, holding=0) as process:
        assert process.stdout
        assert process.stdout.readline() == "left\n"
        assert is_free("net", tmp_path)
        process.kill()


def test_many_take_turns(tmp_path: Path) -> None:
    directory = tmp_path / "locks"
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with Lock("net", "net", directory=str(directory)):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("shared", [False, True])
def test_nobody_waits_without_end(tmp_path: Path, shared: bool) -> None:
    with start_holder(tmp_path, child=0, holding=60) as process:
        begin = monotonic()
        with pytest.raises(CniError) as caught, Lock("net", "network a", shared, str(tmp_path), patience=0.2):
            pass
        assert 0.2 <= monotonic() - begin < 2
        assert caught.value.code == TRY_AGAIN_LATER
        name = Path(f"/proc/{process.pid}/comm").read_text().strip()
        holder = f"process {process.pid} ({name})"
        assert caught.value.msg == f"network a has been locked for 0.2 seconds by {holder}"
        assert f"{tmp_path}/net" in caught.value.details
        process.kill()
    with Lock("net", "network a", shared, str(tmp_path), patience=0.2):
        pass


def test_what_is_waited_for_in_vain_is_not_left_open(tmp_path: Path) -> None:
    with Lock("net", "network a", directory=str(tmp_path)):
        before = set(os.listdir("/proc/self/fd"))
        with pytest.raises(CniError), Lock("net", "network a", directory=str(tmp_path), patience=0):
            pass
        assert set(os.listdir("/proc/self/fd")) <= before


# A file of mode 600 that somebody else has.
_IS_ROOT = os.geteuid() == 0
FOREIGN = pytest.param(0o600, marks=pytest.mark.skipif(not _IS_ROOT, reason="only root gives files away"))


@pytest.mark.parametrize("mode", [FOREIGN, 0o644, 0o666])
def test_a_file_that_others_could_lock_is_replaced(tmp_path: Path, mode: int) -> None:
    """Such as one that a user made while the directory was open to everybody, and holds ever since."""
    path = tmp_path / "net"
    path.touch()
    path.chmod(mode)
    if mode == 0o600:
        os.chown(path, 65534, 65534)
    with open(path) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with Lock("net", "network a", directory=str(tmp_path), patience=0.2):
            assert path.stat().st_uid == os.geteuid()
            assert path.stat().st_mode & 0o777 == 0o600
            assert not is_free("net", tmp_path)


@pytest.mark.parametrize("umask", [0, 0o077])
def test_the_directory_is_nobody_elses(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with Lock("net", "network a", directory=f"{tmp_path}/run/locks"):
            pass
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("run", "run/locks")]
    assert modes == [0o755, 0o700]
