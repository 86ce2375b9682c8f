"""Leases that nobody can need any more: of an earlier boot, and of network namespaces that are gone."""

import os
import time
from pathlib import Path

import pytest

from shibafu.cni import boot as boot_id
from shibafu.cni.errors import TRY_AGAIN_LATER
from shibafu.resource.identity import has_vanished
from shibafu_ipam.index_records import IndexRecord
from shibafu_ipam.liveness import calc_view, is_abandoned
from support.ipam import LIVING_NETNS, Ipam

TINY = {"subnet": "10.1.0.0/30"}  # one address


class Boot:
    """The kernel's name of the running boot, which the test can change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.restart()

    def restart(self) -> None:
        self.count += 1
        self.path.write_text(f"00000000-0000-4000-8000-{self.count:012}\n")
        boot_id.forget_boot_id()


@pytest.fixture
def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Boot:
    monkeypatch.setattr(boot_id, "FILE", str(tmp_path / "boot_id"))
    return Boot(tmp_path / "boot_id")


@pytest.fixture
def ipam(tmp_path: Path) -> Ipam:
    return Ipam(tmp_path / "networks")


@pytest.fixture
def netns(tmp_path: Path) -> Path:
    """A namespace that vanishes when the test unlinks it."""
    path = tmp_path / "netns"
    path.symlink_to(LIVING_NETNS)
    return path


def make_older(path: Path, seconds: float) -> None:
    made_at = path.stat().st_mtime - seconds
    os.utime(path, (made_at, made_at))


# After a reboot


@pytest.mark.parametrize("verb", ["ADD", "DEL", "GC"])
def test_what_an_earlier_boot_left_is_released(ipam: Ipam, boot: Boot, verb: str) -> None:
    ipam.add("c1")
    ipam.add("c2", "eth1")
    boot.restart()
    if verb == "ADD":
        assert ipam.add("c3") == ["10.1.0.4"]
        ipam.succeed("DEL", "c3")
    elif verb == "GC":
        assert ipam.collect_garbage(("c1", "eth0"), ("c2", "eth1")) == (0, None)
    else:
        ipam.succeed("DEL", "c3")
    assert not ipam.leases()
    ipam.check_index()
    assert ipam.is_index_valid()


def test_a_static_address_is_free_again_after_a_reboot(ipam: Ipam, boot: Boot) -> None:
    ipam.add("c1", cni_args="IP=10.1.0.9")
    boot.restart()
    assert ipam.add("c1", cni_args="IP=10.1.0.9") == ["10.1.0.9"]


def test_an_exhausted_pool_is_available_again_after_a_reboot(tmp_path: Path, boot: Boot) -> None:
    ipam = Ipam(tmp_path / "networks", TINY)
    ipam.add()
    boot.restart()
    ipam.succeed("STATUS")
    assert ipam.leases()  # STATUS changes nothing
    assert ipam.add() == ["10.1.0.2"]


def test_the_same_boot_releases_nothing(ipam: Ipam, boot: Boot) -> None:
    ipam.add("c1")
    os.utime(ipam.directory)
    ipam.add("c2")
    assert set(ipam.leases()) == {"10.1.0.2", "10.1.0.3"}
    assert boot.count == 1


def test_a_store_that_is_taken_over_keeps_its_leases_however_old(ipam: Ipam, boot: Boot) -> None:
    ipam.write_lease("10.1.0.9", b"c9\r\neth0")
    make_older(ipam.directory / "10.1.0.9", 10 * 365 * 86400)
    ipam.add("c1")
    ipam.succeed("CHECK", "c9")
    boot.restart()
    ipam.add("c2")
    assert set(ipam.leases()) == {"10.1.0.3"}


def test_leases_that_host_local_made_since_the_boot_are_kept(ipam: Ipam, boot: Boot) -> None:
    ipam.add("c1")
    boot.restart()
    ipam.write_lease("10.1.0.9", b"c9\r\neth0")
    ipam.add("c2")
    assert set(ipam.leases()) == {"10.1.0.3", "10.1.0.9"}
    ipam.check_index()


def test_leases_that_host_local_made_before_the_boot_are_released(ipam: Ipam, boot: Boot) -> None:
    ipam.add("c1")
    ipam.write_lease("10.1.0.9", b"c9\r\neth0")
    ipam.write_lease("10.1.0.10", b"c10\r\neth0")
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    make_older(ipam.directory / "10.1.0.9", uptime + 120)
    make_older(ipam.directory / "10.1.0.10", uptime + 1)  # the clock may have been set since
    boot.restart()
    ipam.add("c2")
    assert set(ipam.leases()) == {"10.1.0.3", "10.1.0.10"}


def test_an_address_that_host_local_gave_again_to_the_same_attachment_is_kept(ipam: Ipam, boot: Boot) -> None:
    ipam.add("c1")
    boot.restart()
    # As much later as a machine needs to start.
    lease = ipam.directory / "10.1.0.2"
    make_older(lease, -30)
    ipam.add("c2")
    assert set(ipam.leases()) == {"10.1.0.2", "10.1.0.3"}


@pytest.mark.parametrize("content", [b"", b"\0" * 36, b"garbage", b"x" * 36])
def test_a_stamp_that_names_no_boot_says_nothing(ipam: Ipam, boot: Boot, content: bytes) -> None:
    """What emptied it may have been a power failure, or something else in the boot of living containers."""
    ipam.add("c1")
    stamp = ipam.index_directory / "stamp"
    made_at = stamp.stat().st_mtime_ns
    stamp.write_bytes(content)
    os.utime(stamp, ns=(made_at, made_at))
    ipam.add("c2")
    assert set(ipam.leases()) == {"10.1.0.2", "10.1.0.3"}
    assert ipam.is_index_valid()
    boot.restart()
    ipam.add("c3")
    assert set(ipam.leases()) == {"10.1.0.4"}


def test_a_boot_that_cannot_be_told_is_no_other(ipam: Ipam, boot: Boot) -> None:
    ipam.add("c1")
    boot.path.unlink()
    boot_id.forget_boot_id()
    ipam.add("c2")
    assert set(ipam.leases()) == {"10.1.0.2", "10.1.0.3"}


def test_a_kernel_without_boot_id(ipam: Ipam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot_id, "FILE", "/nonexistent")
    ipam.add("c1")
    assert ipam.is_index_valid()
    ipam.add("c2")
    assert set(ipam.leases()) == {"10.1.0.2", "10.1.0.3"}


# Vanished namespaces


def test_namespaces(tmp_path: Path, netns: Path) -> None:
    assert calc_view(str(netns))
    assert not has_vanished(str(netns))
    (tmp_path / "unmounted").touch()
    for gone in (tmp_path / "unmounted", tmp_path / "missing", tmp_path / "unmounted" / "x"):
        assert not calc_view(str(gone))
        assert has_vanished(str(gone))
    assert has_vanished("/proc/4194305/ns/net")  # beyond the largest possible PID
    assert not has_vanished("")
    assert not has_vanished("none")


def test_only_who_sees_the_same_can_tell_that_a_namespace_has_vanished(
    netns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = IndexRecord("c1", "eth0", [], str(netns), calc_view(str(netns)))
    process = IndexRecord("c1", "eth0", [], "/proc/4194305/ns/net", calc_view("/proc/self/ns/net"))
    assert not is_abandoned(record)
    assert is_abandoned(process)
    netns.unlink()
    assert is_abandoned(record)
    assert not is_abandoned(IndexRecord("c1", "eth0", [], str(netns)))  # of an earlier version
    assert not is_abandoned(None)
    # Any other namespace of this process stands for one of another process.
    monkeypatch.setattr("shibafu.resource.identity._PROCESSES", "/proc/self/ns/uts")
    assert is_abandoned(record)
    assert not is_abandoned(process)
    monkeypatch.setattr("shibafu_ipam.liveness._MOUNTS", "/proc/self/ns/uts")
    assert not is_abandoned(record)
    monkeypatch.setattr("shibafu_ipam.liveness._MOUNTS", "/nonexistent")
    assert not is_abandoned(record)
    assert not calc_view("/proc/self/ns/net")


def test_an_exhausted_pool_takes_back_what_vanished_namespaces_have(tmp_path: Path, netns: Path) -> None:
    ipam = Ipam(tmp_path / "networks", {"subnet": "10.1.0.0/29"})
    ipam.add("gone", netns=str(netns))
    for n in range(4):
        ipam.add(f"c{n}")
    netns.unlink()
    ipam.succeed("STATUS")
    assert ipam.add("new") == ["10.1.0.2"]
    assert "gone/eth0" not in ipam.leases().values()
    assert ipam.fail("ADD", "another")[0] == TRY_AGAIN_LATER
    ipam.check_index()


def test_leases_are_not_taken_back_before_the_pool_is_exhausted(ipam: Ipam, netns: Path) -> None:
    ipam.add("gone", netns=str(netns))
    netns.unlink()
    ipam.add("c1")
    assert ipam.leases()["10.1.0.2"] == "gone/eth0"


def test_leases_whose_namespace_is_not_known_are_not_taken_back(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path / "networks", {"subnet": "10.1.0.0/29"})
    ipam.write_lease("10.1.0.2", b"foreign\r\neth0")
    for n in range(2):
        ipam.add(f"c{n}", netns="/nonexistent")
    for n in range(2, 4):
        ipam.add(f"c{n}")
    assert ipam.fail("ADD", "new")[0] == TRY_AGAIN_LATER


def test_the_namespace_is_remembered_when_the_index_is_made_anew(tmp_path: Path, netns: Path) -> None:
    ipam = Ipam(tmp_path / "networks", TINY)
    ipam.add("gone", netns=str(netns))
    os.utime(ipam.directory)
    ipam.succeed("DEL", "unknown")
    netns.unlink()
    assert ipam.add("new") == ["10.1.0.2"]


def test_the_same_container_anew_after_its_namespace_vanished(ipam: Ipam, netns: Path) -> None:
    ipam.add("c1", netns=str(netns))
    assert "duplicate allocation" in ipam.fail("ADD", "c1", netns=str(netns))[1]
    netns.unlink()
    assert ipam.add("c1") == ["10.1.0.3"]
    assert ipam.leases() == {"10.1.0.3": "c1/eth0"}
    ipam.check_index()


def test_a_requested_address_whose_holder_has_vanished(ipam: Ipam, netns: Path) -> None:
    ipam.add("gone", netns=str(netns), cni_args="IP=10.1.0.9")
    assert "is not available" in ipam.fail("ADD", "c1", cni_args="IP=10.1.0.9")[1]
    netns.unlink()
    assert ipam.add("c1", cni_args="IP=10.1.0.9") == ["10.1.0.9"]
    ipam.check_index()
