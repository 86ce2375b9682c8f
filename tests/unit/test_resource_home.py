"""Whose directory of records it is: inode numbers of namespaces are used again."""

import os
from pathlib import Path

import pytest

from shibafu.resource.record import Record
from shibafu.resource.records import NetworkState

RECORD = Record("c1", "eth0")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory of records, in which network `net` has one and rules."""
    state = NetworkState("net", str(tmp_path / "run"))
    state.write_attachment("veth1", RECORD)
    state.write_rules({"backends": ["iptables"]})
    return tmp_path / "run"


def find_mark(root: Path) -> Path:
    return root / str(os.stat("/proc/self/ns/net").st_ino) / ".netns"


def replace_mark(root: Path, target: str) -> None:
    find_mark(root).unlink()
    find_mark(root).symlink_to(target)


def test_the_mark_names_cookie_and_boot(root: Path) -> None:
    cookie, _, boot = os.readlink(find_mark(root)).partition(".")
    assert int(cookie) > 0
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    state = NetworkState("net", str(root))
    assert (state.attachments(), state.networks()) == (["veth1"], ["net"])


@pytest.mark.root  # the lock is in /run/shibafu
@pytest.mark.parametrize("part", ["cookie", "boot"])
def test_what_another_namespace_left_is_removed(root: Path, part: str) -> None:
    cookie, _, boot = os.readlink(find_mark(root)).partition(".")
    replace_mark(root, f"{int(cookie) + 1}.{boot}" if part == "cookie" else f"{cookie}.{boot[:-1]}x")
    state = NetworkState("other", str(root))
    assert not find_mark(root).parent.joinpath("net").exists()
    state.write_attachment("veth2", RECORD)
    assert (state.networks(), os.readlink(find_mark(root))) == (["other"], f"{cookie}.{boot}")
    assert NetworkState("net", str(root)).read_rules() == {}


@pytest.mark.parametrize("target", [None, "0.", "x", "none", "."])
def test_a_directory_that_does_not_say_whose_it_is_counts_as_ours(root: Path, target: str | None) -> None:
    expected = os.readlink(find_mark(root))
    if target is None:
        find_mark(root).unlink()
    else:
        replace_mark(root, target)
    state = NetworkState("net", str(root))
    assert state.attachments() == ["veth1"]
    state.write_attachment("veth2", RECORD)
    assert os.readlink(find_mark(root)) == (target or expected)


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_no_link_is_no_mark(root: Path, kind: str) -> None:
    find_mark(root).unlink()
    if kind == "file":
        find_mark(root).write_text("1.x")
    else:
        find_mark(root).mkdir()
    assert NetworkState("net", str(root)).attachments() == ["veth1"]


def test_it_goes_with_the_last_network(root: Path) -> None:
    states = [NetworkState(name, str(root)) for name in ("net", "other")]
    states[1].write_attachment("veth2", RECORD)
    states[0].remove_attachment("veth1")
    states[0].remove_rules()
    states[0].remove_if_unused()
    assert find_mark(root).is_symlink()
    states[1].remove_attachment("veth2")
    states[1].remove_if_unused()
    assert list(root.iterdir()) == []


def test_what_a_killed_call_has_left_of_it_goes_with_the_next(root: Path) -> None:
    state = NetworkState("net", str(root))
    for path in Path(state.directory).iterdir():
        path.unlink()
    Path(state.directory).rmdir()
    NetworkState("net", str(root)).remove_if_unused()
    assert list(root.iterdir()) == []
