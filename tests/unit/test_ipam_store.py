"""Leases and their index as people, crashes, full disks and other programs leave them."""

import os
import shutil
from pathlib import Path

import pytest

from shibafu.cni.errors import (
    INVALID_ENVIRONMENT,
    IO_FAILURE,
    NO_ADDRESS,
    NOT_AVAILABLE,
)
from shibafu_ipam.index import STAMP_LAG, Index
from support.ipam import Ipam


@pytest.fixture
def ipam(tmp_path: Path) -> Ipam:
    return Ipam(tmp_path / "networks")


@pytest.mark.parametrize("body", [b"c1", b"c1\n", b"c1\r\n"])
def test_leases_of_old_versions(ipam: Ipam, body: bytes) -> None:
    ipam.write_lease("10.1.0.2", body)
    ipam.succeed("CHECK", "c1", "eth7")
    assert ipam.fail("ADD", "c1", "eth0")[1].endswith("duplicate allocation is not allowed")
    ipam.succeed("CHECK", "c1", "eth7")  # now from the index
    ipam.succeed("DEL", "c1", "eth5")
    assert not ipam.leases()
    ipam.check_index()


def test_leases_of_old_versions_stay_while_newer_ones_go(ipam: Ipam) -> None:
    ipam.add("c1")
    ipam.write_lease("10.1.0.9", b"c1")
    ipam.succeed("DEL", "c1")
    assert ipam.leases() == {"10.1.0.9": "c1"}


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0\0\0\0\0", b" \r\n"])
def test_a_file_with_nothing_in_it_is_no_lost_address(tmp_path: Path, body: bytes) -> None:
    ipam = Ipam(tmp_path, {"subnet": "10.1.0.0/30"})
    ipam.write_lease("10.1.0.2", body)
    ipam.succeed("STATUS")
    assert ipam.add() == ["10.1.0.2"]
    assert ipam.leases() == {"10.1.0.2": "c1/eth0"}


def test_an_empty_file_behind_the_indexs_back(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path)
    ipam.add()
    status = ipam.directory.stat()
    ipam.write_lease("10.1.0.9", b"")
    os.utime(ipam.directory, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert ipam.add("c2", cni_args="IP=10.1.0.9") == ["10.1.0.9"]
    ipam.check_index()


def test_a_lease_behind_the_indexs_back(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path)
    ipam.add()
    status = ipam.directory.stat()
    ipam.write_lease("10.1.0.3", b"other\r\neth0")
    os.utime(ipam.directory, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert ipam.add("c2") == ["10.1.0.4"]
    ipam.check_index()


def test_leases_removed_by_hand(ipam: Ipam) -> None:
    ipam.add("c1")
    ipam.add("c2")
    (ipam.directory / "10.1.0.2").unlink()
    assert ipam.add("c1") == ["10.1.0.4"]
    ipam.check_index()


def test_other_files_in_the_directory_do_no_harm(ipam: Ipam) -> None:
    for name in ("README", "10.1.0.2.bak", "10.1.0", "FD00::2", "10.1.0.02"):
        ipam.write_lease(name, b"c1\r\neth0")
    assert ipam.add("c1") == ["10.1.0.2"]
    ipam.succeed("DEL", "c1")
    assert len(ipam.leases()) == 5


def test_an_index_that_was_deleted(ipam: Ipam) -> None:
    ipam.add("c1")
    shutil.rmtree(ipam.data_dir / ".shibafu")
    assert ipam.add("c2") == ["10.1.0.3"]
    ipam.check_index()


def test_an_index_whose_pages_were_deleted(ipam: Ipam) -> None:
    ipam.add("c1")
    shutil.rmtree(ipam.index_directory / "pages")
    assert ipam.add("c2") == ["10.1.0.3"]
    ipam.succeed("DEL", "c1")
    ipam.check_index()


def test_a_stamp_that_was_deleted(ipam: Ipam) -> None:
    ipam.add("c1")
    (ipam.index_directory / "stamp").unlink()
    assert ipam.add("c2") == ["10.1.0.3"]
    ipam.check_index()


def test_status_of_an_unusable_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, msg = Ipam(tmp_path / "file" / "networks").fail("STATUS")
    assert code == NOT_AVAILABLE
    assert msg == f"cannot use dataDir: {tmp_path}/file: not a directory"


def test_a_data_dir_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, msg = Ipam(tmp_path / "file" / "networks").fail("ADD")
    assert code == IO_FAILURE
    assert msg == f"cannot reserve an address: {tmp_path}/file/networks/net: not a directory"


@pytest.mark.parametrize("name", ["lock", "last_reserved_ip.0"])
def test_symbolic_links_are_not_followed(
    ipam: Ipam, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ipam.directory.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (ipam.directory / name).symlink_to(victim)
    ipam.add()
    assert f"{ipam.directory}/{name} is a symbolic link, not a file: remove it" in capsys.readouterr().err
    assert victim.read_text() == "precious"


def test_a_link_in_place_of_the_lease_that_is_being_written(ipam: Ipam, tmp_path: Path) -> None:
    ipam.add("c1")
    (ipam.index_directory / "aside").symlink_to(tmp_path / "victim")
    ipam.add("c2")
    assert not (tmp_path / "victim").exists()


def test_what_a_killed_call_left_aside_is_not_written_into(ipam: Ipam) -> None:
    ipam.add("c1")
    os.link(ipam.directory / "10.1.0.2", ipam.index_directory / "aside")
    ipam.add("c2")
    assert ipam.leases() == {"10.1.0.2": "c1/eth0", "10.1.0.3": "c2/eth0"}


def test_a_change_in_the_tick_of_the_clock_in_which_the_index_was_made(
    ipam: Ipam, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between writing the stamp and making it valid; host-local comes within the same tick."""
    ipam.write_lease("10.1.0.9", b"c9\r\neth0")

    def die(_index: Index) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Index, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            ipam.call("DEL", "unknown")
    made_at = (ipam.index_directory / "stamp").stat().st_mtime_ns
    tick = (ipam.index_directory / "pages").stat().st_mtime_ns
    assert made_at < tick - STAMP_LAG // 2


def test_names_that_are_not_text(ipam: Ipam) -> None:
    ipam.write_lease("10.1.0.9", b"\xff\xfe\r\neth0")
    ipam.write_lease("10.1.0.10", b"a b\tc\nd\r\neth0")
    for command in ("ADD", "CHECK", "DEL"):
        assert ipam.fail(command, "c1", "e\udcff") == (INVALID_ENVIRONMENT, "interface name is not UTF-8")
    ipam.add("c2", "\u00e9", cni_args="IgnoreUnknown=1;X=\udcff")
    os.utime(ipam.directory)
    ipam.succeed("CHECK", "c2", "\u00e9")
    ipam.succeed("DEL", "c2", "\u00e9")
    assert {path.name for path in ipam.directory.glob("10*")} == {"10.1.0.9", "10.1.0.10"}
    assert ipam.fail("ADD", "c3", cni_args="IP=10.1.0.10")[0] == NO_ADDRESS
    assert ipam.collect_garbage() == (0, None)
    assert not ipam.leases()


def test_a_full_disk(ipam: Ipam, monkeypatch: pytest.MonkeyPatch) -> None:
    ipam.add("c1")

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        patch.setattr(os, "pwrite", refuse)
        assert ipam.fail("ADD", "c2") == (IO_FAILURE, "cannot reserve an address: no space left on device")
        assert ipam.leases() == {"10.1.0.2": "c1/eth0"}
        ipam.succeed("DEL", "c1")
        assert not ipam.leases()
    assert ipam.add("c3") == ["10.1.0.3"]
    ipam.check_index()


def test_a_disk_that_takes_half(ipam: Ipam, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    ipam.add("c1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, content: real(fd, content[: len(content) // 2]))
        assert ipam.fail("ADD", "c2")[0] == IO_FAILURE
    assert ipam.leases() == {"10.1.0.2": "c1/eth0"}
    assert ipam.add("c2") == ["10.1.0.3"]
    ipam.check_index()
