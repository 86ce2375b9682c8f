"""Opening what may be something else than a file."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from shibafu.cni.failures import remove_tree
from shibafu.lean.files import NotRegularError, open_file, publish_file, read_file, remove_file, write_file

ODD: dict[str, Callable[[Path], object]] = {
    "is a directory, not a file": Path.mkdir,
    "is a symbolic link, not a file": lambda path: path.symlink_to("/etc/hostname"),
    "is not a regular file": os.mkfifo,
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT])
def test_what_is_no_file_is_not_opened(tmp_path: Path, kind: str, flags: int) -> None:
    path = tmp_path / "odd"
    ODD[kind](path)
    with pytest.raises(NotRegularError, match=kind) as caught:
        open_file(str(path), flags)
    assert caught.value.filename == str(path)


def test_a_socket_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("odd")
        with pytest.raises(NotRegularError, match="is not a regular file"):
            read_file("odd", 10)


def test_links_are_followed_on_request(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    assert read_file(str(tmp_path / "link"), 10, follow=True) == b"text"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(NotRegularError):
        read_file(str(tmp_path / "loop"), 10, follow=True)


def test_a_name_that_is_too_long_is_nobodys(tmp_path: Path) -> None:
    path = str(tmp_path / ("n" * 300))
    assert read_file(path, 10) is None
    assert not remove_file(path)
    with pytest.raises(OSError, match="File name too long"):
        write_file(path, b"")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "odd")
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(NotRegularError):
        read_file(str(tmp_path / "odd"), 10)
    assert set(os.listdir("/proc/self/fd")) <= before


def test_a_tree_is_removed_and_no_link_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/link").symlink_to(precious)
    os.mkfifo(tree / "fifo")
    remove_tree(str(tree))
    assert not tree.exists()
    assert (precious / "file").exists()
    remove_tree(str(tree))


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "odd"
    ODD[kind](path)
    before = path.lstat()
    with pytest.raises(NotRegularError, match=kind) as caught:
        publish_file(str(path), b"text")
    assert caught.value.filename == str(path)
    assert (path.lstat().st_mode, path.lstat().st_ino) == (before.st_mode, before.st_ino)
    assert os.listdir(tmp_path) == ["odd"]


def test_a_file_is_published_for_everybody(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text in (b"old, and longer", b"new"):
        publish_file(str(path), text)
        assert path.read_bytes() == text
    assert path.stat().st_mode & 0o777 == 0o644
    with pytest.raises(FileNotFoundError) as caught:
        publish_file(str(tmp_path / "nowhere" / "file"), b"")
    assert caught.value.filename == str(tmp_path / "nowhere" / "file")
