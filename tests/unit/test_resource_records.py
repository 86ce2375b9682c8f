"""What the bridge plugin remembers of a network."""

import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shibafu.resource.record import Record
from shibafu.resource.records import NetworkState, link_exists

RECORD = Record("c1", "eth0", "/run/netns/c1")


@pytest.fixture
def state(tmp_path: Path) -> NetworkState:
    return NetworkState("net", str(tmp_path / "run"))


def other(state: NetworkState) -> NetworkState:
    """Return the same records as another process sees them."""
    return NetworkState(state.network, state.directory.rpartition("/")[0].rpartition("/")[0])


def test_an_attachment_is_remembered_and_forgotten(state: NetworkState) -> None:
    assert state.attachments() == []
    assert state.read_attachment("veth1").owner is None
    state.write_attachment("veth1", RECORD)
    assert other(state).read_attachment("veth1").owner == ("c1", "eth0")
    assert state.attachments() == ["veth1"]
    assert state.remove_attachment("veth1")
    assert not state.remove_attachment("veth1")
    assert state.attachments() == []


def test_a_record_that_goes_while_it_is_read_is_there_or_not(state: NetworkState) -> None:
    """It is never an empty one, which would be that of an attachment nobody removes."""
    links = [f"veth{number}" for number in range(1000)]
    for link in links:
        state.write_attachment(link, RECORD)
    with ThreadPoolExecutor(1) as executor:
        executor.submit(lambda: [state.remove_attachment(link) for link in links])
        for link in links:
            while (found := state.find_attachment(link)) is not None:
                assert found.owner == RECORD.owner


def test_rules_are_remembered_and_forgotten(state: NetworkState) -> None:
    assert state.read_rules() == {}
    state.write_rules({"complete": False})
    state.write_rules({"complete": True})
    assert other(state).read_rules() == {"complete": True}
    assert state.attachments() == []
    state.remove_rules()
    state.remove_rules()
    assert state.read_rules() == {}


def test_a_shorter_record_replaces_a_longer_one(state: NetworkState) -> None:
    state.write_rules({"subnets": ["10.0.0.0/8"] * 50})
    state.write_rules({"a": 1})
    assert state.read_rules() == {"a": 1}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\0\0", b"\xff", b'"x"'])
def test_a_torn_record_is_none(state: NetworkState, content: bytes) -> None:
    state.write_rules({"a": 1})
    Path(state.directory, "firewall").write_bytes(content)
    assert state.read_rules() == {}


def test_records_are_for_nobody_else(state: NetworkState) -> None:
    state.write_attachment("veth1", RECORD)
    directory = Path(state.directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "veth1").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_directories_have_their_modes_whatever_the_umask(state: NetworkState, umask: int) -> None:
    before = os.umask(umask)
    try:
        state.write_attachment("veth1", RECORD)
    finally:
        os.umask(before)
    directory = Path(state.directory)
    modes = [path.stat().st_mode & 0o777 for path in (directory, directory.parent, directory.parent.parent)]
    assert modes == [0o700, 0o700, 0o755]


def test_what_was_forgotten_is_not_remembered_again(state: NetworkState) -> None:
    assert not state.remembers("veth1")
    state.write_attachment("veth1", RECORD)
    assert state.remembers("veth1")
    state.update_attachment("veth1", Record("c2", "eth0"))
    assert state.read_attachment("veth1").owner == ("c2", "eth0")
    state.remove_attachment("veth1")
    with pytest.raises(FileNotFoundError):
        state.update_attachment("veth1", RECORD)
    assert not state.remembers("veth1")


def test_a_link_in_place_of_a_record_is_not_followed(state: NetworkState, tmp_path: Path) -> None:
    state.write_attachment("veth1", RECORD)
    target = tmp_path / "target"
    target.write_text("precious")
    Path(state.directory, "veth2").symlink_to(target)
    assert state.read_attachment("veth2").owner is None
    state.write_attachment("veth2", RECORD)
    assert state.read_attachment("veth2").owner == ("c1", "eth0")
    assert target.read_text() == "precious"


@pytest.mark.parametrize("name", ["veth1", "firewall", "lock"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/nonexistent")])
def test_what_is_no_file_is_no_record_and_is_replaced(
    state: NetworkState, name: str, make: Callable[[Path], object]
) -> None:
    state.write_attachment("veth2", RECORD)
    make(Path(state.directory, name))
    assert (state.read_attachment("veth1").owner, state.read_rules()) == (None, {})
    state.lock_exclusive()
    state.write_attachment("veth1", RECORD)
    state.write_rules({"b": 1})
    state.unlock()
    assert (state.read_attachment("veth1").owner, state.read_rules()) == (("c1", "eth0"), {"b": 1})
    for link in ("veth1", "veth2"):
        state.remove_attachment(link)
    state.remove_rules()
    state.remove_if_unused()
    assert not os.path.exists(state.directory)


def test_a_network_whose_name_is_too_long_has_no_records(tmp_path: Path) -> None:
    state = NetworkState("n" * 300, str(tmp_path))
    assert state.attachments() == []
    assert (state.read_attachment("veth1").owner, state.read_rules()) == (None, {})
    assert not state.remembers("veth1")
    assert not state.remove_attachment("veth1")
    state.remove_if_unused()


def test_records_belong_to_the_namespace(state: NetworkState) -> None:
    state.write_attachment("veth1", RECORD)
    assert Path(state.directory).parent.name == str(os.stat("/proc/self/ns/net").st_ino)


def test_a_network_is_in_use_while_a_link_exists(state: NetworkState) -> None:
    assert not state.is_in_use()
    state.write_attachment("veth-shibafu-no", RECORD)
    assert not state.is_in_use()
    # A name of an attachment that every namespace has a link of.
    assert link_exists("lo")
    assert not link_exists("veth-shibafu-no")


def test_nothing_is_left_of_an_unused_network(state: NetworkState, tmp_path: Path) -> None:
    state.lock_shared()
    state.unlock()
    state.write_attachment("veth1", RECORD)
    state.remove_if_unused()
    assert state.attachments() == ["veth1"]
    state.remove_attachment("veth1")
    state.write_rules({"a": 1})
    state.remove_if_unused()
    assert state.read_rules() == {"a": 1}
    state.remove_rules()
    state.remove_if_unused()
    assert list((tmp_path / "run").iterdir()) == []
    state.remove_if_unused()


def test_an_empty_record_does_not_keep_the_network(state: NetworkState, tmp_path: Path) -> None:
    state.write_rules({})
    Path(state.directory, "firewall").write_bytes(b"")
    state.remove_if_unused()
    assert list((tmp_path / "run").iterdir()) == []


def is_locked(state: NetworkState, operation: int) -> bool:
    descriptor = os.open(f"{state.directory}/lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_the_lock_is_shared_or_exclusive(state: NetworkState) -> None:
    state.lock_shared()
    assert is_locked(state, fcntl.LOCK_EX)
    assert not is_locked(state, fcntl.LOCK_SH)
    state.lock_exclusive()
    assert is_locked(state, fcntl.LOCK_SH)
    state.lock_shared()
    assert not is_locked(state, fcntl.LOCK_SH)
    state.unlock()
    state.unlock()
    assert not is_locked(state, fcntl.LOCK_EX)


def test_an_exclusive_lock_is_had_only_when_nobody_else_is_there(state: NetworkState) -> None:
    second = other(state)
    second.lock_shared()
    state.lock_shared()
    assert not state.try_lock_exclusive()
    second.unlock()
    assert state.try_lock_exclusive()
    assert is_locked(state, fcntl.LOCK_SH)
    state.unlock()


def test_a_lock_whose_file_was_deleted_is_taken_again(state: NetworkState) -> None:
    state.lock_exclusive()
    os.unlink(f"{state.directory}/lock")
    state.lock_exclusive()
    assert is_locked(state, fcntl.LOCK_SH)
    state.unlock()


def test_the_lock_is_handed_down_on_request_only(state: NetworkState) -> None:
    state.lock_exclusive()
    before = {fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")}
    lock = next(int(fd) for fd in before if os.readlink(f"/proc/self/fd/{fd}").endswith("/net/lock"))
    assert not os.get_inheritable(lock)
    state.hand_down_lock(True)
    assert os.get_inheritable(lock)
    state.hand_down_lock(False)
    assert not os.get_inheritable(lock)
    state.unlock()
