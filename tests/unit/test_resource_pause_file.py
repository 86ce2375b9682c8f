"""The pause of a network, as it is recorded."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shibafu.resource.pause_file import (
    Pause,
    discard_stale_pause,
    end_pause,
    is_paused,
    read_pause,
    write_pause,
)
from shibafu.resource.record import Record
from shibafu.resource.records import NetworkState
from support.waiting import wait_for

RECORD = Record("c1", "eth0")
NOW = int(time.time())
ENDLESS = Pause(NOW, None, "alice")


@pytest.fixture
def state(tmp_path: Path) -> NetworkState:
    """The records of a network with one attachment."""
    state = NetworkState("net", str(tmp_path / "run"))
    state.write_attachment("veth1", RECORD)
    return state


def find_file(state: NetworkState) -> Path:
    return Path(state.directory, "paused")


def has_open(pid: int, path: str) -> bool:
    descriptors = Path(f"/proc/{pid}/fd").iterdir()
    return path in [os.readlink(one) for one in descriptors if os.path.lexists(one)]


def test_a_pause_begins_and_ends(state: NetworkState) -> None:
    assert not is_paused(state)
    assert write_pause(state, ENDLESS)
    found = read_pause(state)
    assert found is not None
    assert found.to_json() == {"since": NOW, "until": None, "by": "alice"}
    assert find_file(state).stat().st_mode & 0o777 == 0o600
    assert end_pause(state)
    assert not is_paused(state)
    assert not end_pause(state)


def test_a_pause_is_replaced(state: NetworkState) -> None:
    write_pause(state, Pause(NOW, None, "somebody with a long name"))
    write_pause(state, Pause(NOW, NOW + 3600, "bob"))
    found = read_pause(state)
    assert found is not None
    assert (found.until, found.by) == (NOW + 3600, "bob")


def test_a_pause_expires(state: NetworkState) -> None:
    write_pause(state, Pause(NOW - 60, NOW + 3600, "alice"))
    assert is_paused(state)
    write_pause(state, Pause(NOW - 60, NOW - 1, "alice"))
    assert not is_paused(state)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b"{}", b'{"since": 1, "until": "x", "by": "a"}', b'{"since": 1, "until": 2}'],
)
def test_a_torn_file_is_no_pause(state: NetworkState, content: bytes) -> None:
    write_pause(state, ENDLESS)
    find_file(state).write_bytes(content)
    assert not is_paused(state)


def test_nothing_is_paused_where_nothing_is_attached(tmp_path: Path) -> None:
    state = NetworkState("net", str(tmp_path / "run"))
    assert not write_pause(state, ENDLESS)
    assert not (tmp_path / "run").exists()


def test_nothing_is_left_if_the_last_attachment_goes_meanwhile(state: NetworkState) -> None:
    """The pause waits for a DEL that holds the lock, as the last DEL of a network does."""
    root = os.path.dirname(os.path.dirname(state.directory))
    pausing = (
        "import sys; from shibafu.resource.pause_file import Pause, write_pause; "
        "from shibafu.resource.records import NetworkState; "
        "sys.exit(write_pause(NetworkState('net', sys.argv[1]), Pause(1, None, '')))"
    )
    state.lock_exclusive()
    with subprocess.Popen(
        [sys.executable, "-c", pausing, root], env={"PYTHONPATH": ":".join(sys.path)}
    ) as child:
        wait_for(lambda: has_open(child.pid, f"{state.directory}/lock"))
        state.remove_attachment("veth1")
        state.unlock()
        assert child.wait(10) == 0
    assert not os.path.exists(state.directory)


def test_the_last_attachment_takes_the_pause_along(state: NetworkState) -> None:
    write_pause(state, ENDLESS)
    state.write_attachment("veth2", Record("c2", "eth0"))
    state.remove_attachment("veth1")
    state.remove_if_unused()
    assert is_paused(state)
    state.remove_attachment("veth2")
    state.remove_if_unused()
    assert not os.path.exists(state.directory)


def test_what_a_killed_call_left_is_no_pause_of_the_next_attachment(state: NetworkState) -> None:
    write_pause(state, ENDLESS)
    discard_stale_pause(state)
    assert is_paused(state)
    state.remove_attachment("veth1")
    discard_stale_pause(state)
    state.write_attachment("veth2", RECORD)
    assert not is_paused(state)
