"""Directories: their modes whatever the umask is, and whose they are."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shibafu.cni.directories import make_directory, secure_directories, secure_given_directory
from shibafu.cni.errors import IO_FAILURE, CniError

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture(params=[0, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.usefixtures("umask")
def test_all_levels_have_the_stated_modes(tmp_path: Path) -> None:
    make_directory(f"{tmp_path}/a/b/c", 0o700)
    make_directory(f"{tmp_path}/a/d/e", 0o711, parents=0o750)
    modes = {str(path.relative_to(tmp_path)): mode(path) for path in tmp_path.rglob("*")}
    assert modes == {"a": 0o755, "a/b": 0o755, "a/b/c": 0o700, "a/d": 0o750, "a/d/e": 0o711}


def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o750)
    make_directory(f"{tmp_path}/a", 0o700)
    assert mode(tmp_path / "a") == 0o750


@pytest.mark.parametrize("path", ["/proc/none/of/this", "/dev/null", "/dev/null/below"])
def test_what_cannot_be_made(path: str) -> None:
    with pytest.raises(OSError, match=path.split("/")[2]):
        make_directory(path, 0o700)


def test_directories_of_ours_are_mended(tmp_path: Path) -> None:
    levels = [tmp_path / "a", tmp_path / "a" / "b"]
    for level in levels:
        level.mkdir()
        level.chmod(0o777)
    secure_directories(*map(str, levels), f"{tmp_path}/a/b/none", f"{tmp_path}/a/b/none/either")
    assert [mode(level) for level in levels] == [0o755, 0o755]


@needs_root
def test_what_somebody_else_has_made_is_refused(tmp_path: Path) -> None:
    made = tmp_path / "locks"
    made.mkdir()
    os.chown(made, NOBODY, NOBODY)
    with pytest.raises(CniError, match=f"{made} belongs to user {NOBODY}, who") as refusal:
        secure_directories(str(tmp_path), str(made))
    assert refusal.value.code == IO_FAILURE


@needs_root
def test_a_link_is_as_good_as_who_has_made_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real").chmod(0o777)
    link = tmp_path / "locks"
    link.symlink_to("real")
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(CniError, match=f"locks belongs to user {NOBODY}"):
        secure_directories(str(link))
    assert mode(tmp_path / "real") == 0o777
    os.chown(link, os.geteuid(), -1, follow_symlinks=False)
    secure_directories(str(link))
    assert mode(tmp_path / "real") == 0o755


def test_what_is_no_directory_is_told_by_who_needs_one(tmp_path: Path) -> None:
    (tmp_path / "locks").touch()
    long = f"{tmp_path}/{'a' * 256}"
    for path in (f"{tmp_path}/locks", f"{tmp_path}/locks/below", long):
        secure_directories(path)
        secure_given_directory(path)


@pytest.mark.parametrize(
    ("given", "mended"), [(0o777, 0o755), (0o757, 0o755), (0o775, 0o775), (0o1777, 0o1777), (0o700, 0o700)]
)
def test_a_directory_of_the_administrators_choice(tmp_path: Path, given: int, mended: int) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(given)
    (tmp_path / "link").symlink_to("store")
    secure_given_directory(f"{tmp_path}/link")
    secure_given_directory(f"{tmp_path}/none")
    assert mode(tmp_path / "store") == mended


@needs_root
def test_somebody_elses_directory_of_the_administrators_choice(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    os.chown(store, NOBODY, NOBODY)
    secure_given_directory(str(store))
    store.chmod(0o777)
    with pytest.raises(CniError, match=f"everybody can write to {store}") as refusal:
        secure_given_directory(str(store))
    assert f"chmod go-w {store}" in refusal.value.details
    store.chmod(0o755)
    tmp_path.chmod(0o1777)
    with pytest.raises(
        CniError, match=f"{store} belongs to user {NOBODY}, and anybody could have created it"
    ):
        secure_given_directory(str(store))
