"""How a spare of the engine waits for a launcher."""

import os
from pathlib import Path
from socket import AF_UNIX, SOCK_SEQPACKET, socket

import pytest

from shibafu.engine import entrance
from shibafu.engine.entrance import Entrance


class Door:
    """An entrance, and what can be done to it.

    Args:
        path: where it is.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        listener = socket(AF_UNIX, SOCK_SEQPACKET)
        listener.setblocking(False)
        listener.bind(path)
        stop, self._stop = os.pipe()
        self.entrance = Entrance(listener, stop)
        self.entrance.listen(4)

    def come(self) -> socket:
        """Connect as a launcher does."""
        launcher = socket(AF_UNIX, SOCK_SEQPACKET)
        launcher.connect(self.path)
        return launcher

    def end(self) -> None:
        """Tell all spares to end."""
        os.close(self._stop)


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(str(tmp_path / "sock"))


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been prepared."""
    done: list[str] = []
    monkeypatch.setattr(entrance, "populate_pages", lambda: done.append("memory"))
    monkeypatch.setattr(entrance, "look_up_proc", lambda: done.append("/proc"))
    return done


def test_a_spare_prepares_itself_before_it_waits(door: Door, prepared: list[str]) -> None:
    with door.come():
        assert door.entrance.accept(is_needed=False) is not None
    assert prepared == ["memory", "/proc"]


def test_one_that_is_needed_takes_the_launcher_first(door: Door, prepared: list[str]) -> None:
    with door.come():
        assert door.entrance.accept(is_needed=True) is not None
    assert prepared == []


def test_one_that_is_needed_prepares_itself_when_nobody_comes(
    door: Door, prepared: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "look_up_proc", door.end)
    assert door.entrance.accept(is_needed=True) is None
    assert prepared == ["memory"]


@pytest.mark.parametrize("is_needed", [False, True])
def test_the_end_comes_before_launchers(door: Door, prepared: list[str], is_needed: bool) -> None:
    door.end()
    with door.come():
        assert door.entrance.accept(is_needed) is None
    assert prepared == ([] if is_needed else ["memory", "/proc"])
