"""Entering namespaces, by whichever way the interpreter offers."""

import os
from collections.abc import Callable, Iterator
from errno import EBADF, EINVAL, ENOENT
from pathlib import Path

import pytest

from shibafu.netlink import libc
from shibafu.netlink import namespace as under_test
from shibafu.netlink.constants import CLONE_NEWNET
from shibafu.netlink.namespace import current_netns, entered, is_current_netns, open_netns, setns
from support.namespaces import Namespace


@pytest.fixture
def fd(container: Namespace) -> Iterator[int]:
    opened = open_netns(container.path)
    yield opened
    os.close(opened)


def here() -> tuple[int, int]:
    status = os.stat("/proc/thread-self/ns/net")
    return status.st_dev, status.st_ino


def identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def test_open(container: Namespace, fd: int) -> None:
    assert not os.get_inheritable(fd)
    assert identity(fd) == (os.stat(container.path).st_dev, os.stat(container.path).st_ino)


def test_what_is_no_network_namespace_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    file = tmp_path / "file"
    file.write_text("")
    for path in ("/proc/self/ns/mnt", "/dev/null", str(file), str(fifo), str(tmp_path)):
        with pytest.raises(OSError, match="not a network namespace") as caught:
            open_netns(path)
        assert (caught.value.errno, caught.value.filename) == (EINVAL, path)
    with pytest.raises(FileNotFoundError) as missing:
        open_netns(str(tmp_path / "missing"))
    assert missing.value.errno == ENOENT


def test_refusal_leaves_no_descriptor_open() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="not a network namespace"):
        open_netns("/dev/null")
    assert set(os.listdir("/proc/self/fd")) <= before


def test_current_and_same(container: Namespace, fd: int) -> None:
    home = current_netns()
    try:
        assert identity(home) == here()
        assert not os.get_inheritable(home)
        assert is_current_netns(home)
        assert not is_current_netns(fd)
        with entered(fd):
            assert is_current_netns(fd)
            assert not is_current_netns(home)
    finally:
        os.close(home)


def test_entered_and_back(fd: int) -> None:
    home = here()
    descriptors = os.listdir("/proc/self/fd")
    with entered(fd):
        assert here() == identity(fd)
    assert here() == home
    assert os.listdir("/proc/self/fd") == descriptors


def test_back_after_an_error(fd: int) -> None:
    home = here()
    with pytest.raises(ZeroDivisionError), entered(fd):
        _ = 1 / 0
    assert here() == home


def test_nothing_happens_where_entering_fails() -> None:
    home = here()
    descriptors = os.listdir("/proc/self/fd")
    other = os.open("/dev/null", os.O_RDONLY)
    try:
        with pytest.raises(OSError) as caught, entered(other):  # noqa: PT011  # the number is the message
            raise AssertionError("entered /dev/null")
        assert caught.value.errno == EINVAL
    finally:
        os.close(other)
    assert here() == home
    assert os.listdir("/proc/self/fd") == descriptors


def test_failing_return_records_suffice(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    home = current_netns()

    def refuse(target: int) -> None:
        raise OSError(EBADF, "refused")

    context = entered(fd)
    try:
        with pytest.raises(OSError, match="refused"), context:
            context._setns = refuse
    finally:
        setns(home)
        os.close(home)


@pytest.mark.parametrize("loader", ["load_libc_function", "_load_by_ctypes"])
def test_each_way_leads_in_and_reports_errors(loader: str, fd: int) -> None:
    setns_2: Callable[[int, int], None] = getattr(libc, loader)("setns")

    def enter(fd: int) -> None:
        setns_2(fd, CLONE_NEWNET)

    home = current_netns()
    try:
        enter(fd)
        assert here() == identity(fd)
        enter(home)
        assert here() == identity(home)
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            enter(-1)
        assert caught.value.errno == EBADF
    finally:
        setns(home)
        os.close(home)


def test_interpreters_own_setns_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "setns", lambda fd, kind: calls.append((fd, kind)), raising=False)
    setns(7)
    assert calls == [(7, CLONE_NEWNET)]


def test_public_ctypes_is_the_fallback(monkeypatch: pytest.MonkeyPatch, fd: int) -> None:
    monkeypatch.delattr(os, "setns", raising=False)
    monkeypatch.setattr(libc, "HAVE_CTYPES_CORE", False)
    monkeypatch.setattr(libc, "_known", {})
    used: list[str] = []
    monkeypatch.setattr(libc, "_load_by_ctypes", used.append)
    under_test._load_setns()
    assert used == ["setns"]
