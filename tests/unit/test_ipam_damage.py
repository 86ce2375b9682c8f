"""Stores with something in them that nobody expects there."""

import contextlib
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shibafu.cni.errors import INVALID_ENVIRONMENT, IO_FAILURE, NO_ADDRESS, NOT_AVAILABLE, TRY_AGAIN_LATER
from shibafu.lean.files import write_file
from shibafu_ipam import store as store_module
from support.ipam import Ipam


def make_socket(path: Path) -> None:
    """Make one where the path may be longer than an address of a socket (107 bytes)."""
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path.name)


ODD: list[Callable[[Path], object]] = [
    Path.mkdir,
    lambda path: path.symlink_to("/nonexistent"),
    lambda path: path.symlink_to("/etc/hostname"),
    os.mkfifo,
    make_socket,
]
KINDS = ["directory", "dangling-link", "link", "fifo", "socket"]


@pytest.fixture
def ipam(tmp_path: Path) -> Ipam:
    return Ipam(tmp_path / "networks", {"subnet": "10.1.0.0/29"})  # five addresses


# Odd entries of a store


@pytest.mark.parametrize("make", ODD, ids=KINDS)
def test_an_entry_that_is_no_lease_takes_its_address_and_nothing_else(
    ipam: Ipam, make: Callable[[Path], object]
) -> None:
    ipam.add("c1")
    odd = ipam.directory / "10.1.0.3"
    make(odd)
    ipam.succeed("STATUS")
    assert ipam.add("c2") == ["10.1.0.4"]
    assert ipam.fail("ADD", "c3", cni_args="IP=10.1.0.3")[0] == NO_ADDRESS
    ipam.succeed("CHECK", "c1")
    os.utime(ipam.directory)
    ipam.succeed("CHECK", "c1")
    ipam.succeed("DEL", "c1")
    ipam.succeed("DEL", "c1")
    assert ipam.collect_garbage() == (0, None)
    assert [path.name for path in ipam.directory.glob("10.*")] == ["10.1.0.3"]
    for n in range(4):
        ipam.add(f"n{n}")
    assert ipam.fail("ADD", "n5")[0] == TRY_AGAIN_LATER
    assert ipam.fail("STATUS")[0] == NOT_AVAILABLE
    shutil.rmtree(odd) if odd.is_dir() and not odd.is_symlink() else odd.unlink()
    assert ipam.add("n5") == ["10.1.0.3"]
    ipam.check_index()


def test_the_refusal_of_an_address_that_an_odd_entry_takes_says_where_it_is(ipam: Ipam) -> None:
    ipam.directory.mkdir(parents=True)
    (ipam.directory / "10.1.0.3").mkdir()
    _, answer = ipam.call("ADD", cni_args="IP=10.1.0.3")
    assert str(ipam.directory / "10.1.0.3") in answer["details"]


@pytest.mark.parametrize("make", ODD, ids=KINDS)
@pytest.mark.parametrize("name", ["lock", "last_reserved_ip.0"])
def test_what_is_no_file_is_named_and_stops_nothing(
    ipam: Ipam, name: str, make: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    ipam.add("c1")
    odd = ipam.directory / name
    odd.unlink()
    make(odd)
    assert ipam.add("c2") not in ([], ["10.1.0.2"])
    assert f"{odd} is " in capsys.readouterr().err
    ipam.succeed("STATUS")
    ipam.succeed("CHECK", "c1")
    ipam.succeed("DEL", "c1")
    assert ipam.collect_garbage() == (0, None)
    assert os.path.lexists(odd)
    assert not [lease for lease in ipam.leases() if lease.startswith("10.")]


@pytest.mark.parametrize("make", ODD, ids=KINDS)
@pytest.mark.parametrize("name", ["stamp", "records", "records/*", "pages", "pages/*", "aside"])
@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL", "STATUS", "GC"])
def test_an_index_with_something_else_in_it_is_made_anew(
    ipam: Ipam, name: str, make: Callable[[Path], object], command: str
) -> None:
    ipam.add("c1")
    ipam.add("c3")
    for odd in list(ipam.index_directory.glob(name)) or [ipam.index_directory / name]:
        if odd.is_dir():
            shutil.rmtree(odd)
            (Path.touch if make is Path.mkdir else make)(odd)
        else:
            odd.unlink(missing_ok=True)
            make(odd)
    if command == "ADD":
        assert ipam.add("c2") == ["10.1.0.4"]
        assert ipam.is_index_valid()
    elif command == "GC":
        assert ipam.collect_garbage(("c3", "eth0")) == (0, None)
    else:
        ipam.succeed(command, "c1")
    assert ("10.1.0.2" in ipam.leases()) is (command not in ("DEL", "GC"))
    assert ipam.leases()["10.1.0.3"] == "c3/eth0"
    assert ipam.fail("ADD", "c4", cni_args="IP=10.1.0.3")[0] == NO_ADDRESS
    ipam.add("c4")
    assert ipam.is_index_valid()
    ipam.check_index()


def test_a_device_is_no_lease(ipam: Ipam) -> None:
    if os.geteuid():
        pytest.skip("only root makes devices")
    ipam.add("c1")
    os.mknod(ipam.directory / "10.1.0.3", stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero
    assert ipam.add("c2") == ["10.1.0.4"]
    ipam.succeed("DEL", "c1")
    assert ipam.collect_garbage() == (0, None)
    assert sorted(path.name for path in ipam.directory.glob("10.*")) == ["10.1.0.3"]


# A store on another file system than its index


@pytest.fixture
def other_file_system() -> Iterator[Path]:
    path = Path("/dev/shm") / f"shibafu-test-{os.getpid()}"
    path.mkdir()
    yield path
    shutil.rmtree(path)


def test_a_network_whose_directory_is_on_another_file_system(ipam: Ipam, other_file_system: Path) -> None:
    ipam.data_dir.mkdir()
    if other_file_system.stat().st_dev == ipam.data_dir.stat().st_dev:
        pytest.skip("there is no other file system")
    ipam.directory.symlink_to(other_file_system)
    assert ipam.add("c1") == ["10.1.0.2"]
    assert ipam.leases() == {"10.1.0.2": "c1/eth0"}
    assert ipam.is_index_valid()
    ipam.write_lease("10.1.0.3", b"other\r\neth0")
    assert ipam.add("c2") == ["10.1.0.4"]
    ipam.write_lease("10.1.0.5", b"")
    assert ipam.add("c3") == ["10.1.0.5"]
    ipam.succeed("CHECK", "c2")
    ipam.succeed("DEL", "c2")
    ipam.check_index()


def test_a_lease_that_was_half_written_in_its_place(ipam: Ipam, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    real = write_file

    def write_half(path: str, content: bytes, flags: int = 0) -> None:
        if flags:
            real(path, content[:1])
            raise OSError(28, "No space left on device", path)
        real(path, content)

    monkeypatch.setattr(os, "link", refuse)
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_file", write_half)
        code, message = ipam.fail("ADD", "c1")
        assert (code, message) == (
            IO_FAILURE,
            f"cannot reserve an address: {ipam.directory}/10.1.0.2: no space left on device",
        )
    assert ipam.leases() == {}
    assert ipam.add("c1") == ["10.1.0.2"]


# Long container IDs


def test_a_long_container_id(ipam: Ipam) -> None:
    long = "a" * 5000
    assert ipam.add(long) == ["10.1.0.2"]
    assert "duplicate allocation" in ipam.fail("ADD", long)[1]
    ipam.succeed("CHECK", long)
    os.utime(ipam.directory)
    ipam.succeed("CHECK", long)
    ipam.succeed("DEL", long)
    assert not ipam.leases()
    ipam.check_index()


def test_a_container_id_that_is_too_long(ipam: Ipam) -> None:
    code, message = ipam.fail("ADD", "a" * 70000)
    assert (code, message) == (INVALID_ENVIRONMENT, "container ID is too long: it has 70000 characters")
    ipam.succeed("DEL", "a" * 70000)
    assert not ipam.leases()
