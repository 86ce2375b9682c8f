"""Locks between runtimes, tried in threads: flock(2) is of open files, not of processes."""

from pathlib import Path
from threading import Event, Thread

import pytest

from shibafu.runtime.lock import Lock


def is_free(name: str, directory: Path, shared: bool = False) -> bool:
    """Tell whether a lock can be had; who waits for it gets it at the end of the test."""
    got = Event()

    def take() -> None:
        with Lock(name, shared, str(directory)):
            got.set()

    Thread(target=take, daemon=True).start()
    return got.wait(0.2)


@pytest.mark.parametrize(
    ("held_shared", "wanted_shared", "free"),
    [(False, False, False), (False, True, False), (True, False, False), (True, True, True)],
)
def test_exclusion(tmp_path: Path, held_shared: bool, wanted_shared: bool, free: bool) -> None:
    with Lock("net", held_shared, str(tmp_path)):
        assert is_free("net", tmp_path, wanted_shared) is free
        assert is_free("other", tmp_path)
    assert is_free("net", tmp_path)


def test_the_holder_may_enter_again(tmp_path: Path) -> None:
    lock = Lock("net", directory=str(tmp_path))
    with lock:
        with lock:
            pass
        assert not is_free("net", tmp_path)
    assert is_free("net", tmp_path)


def test_nothing_is_left(tmp_path: Path) -> None:
    directory = tmp_path / "locks"
    with Lock("a", True, str(directory)):
        with Lock("a", True, str(directory)), Lock("b", False, str(directory)):
            assert {path.name for path in directory.iterdir()} == {"a", "b"}
        assert {path.name for path in directory.iterdir()} == {"a"}
    assert list(directory.iterdir()) == []


def test_what_a_killed_process_left_locks_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "net").touch()
    with Lock("net", directory=str(tmp_path)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_many_take_turns(tmp_path: Path) -> None:
    directory = tmp_path / "locks"
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with Lock("net", directory=str(directory)):
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
