"""The verbs of shibafu-ipam, and the store on disk that host-local must be able to work on."""

import fcntl
import os
from pathlib import Path

import pytest

from shibafu.cni.errors import (
    CHECK_FAILED,
    IO_FAILURE,
    NO_ADDRESS,
    NOT_AVAILABLE,
    TRY_AGAIN_LATER,
)
from support.ipam import LIVING_NETNS, Ipam

TINY = {"subnet": "10.1.0.0/30"}  # one address
DUAL = {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}


@pytest.fixture
def ipam(tmp_path: Path) -> Ipam:
    return Ipam(tmp_path / "networks")


def test_the_store(ipam: Ipam) -> None:
    os.umask(0o022)
    assert ipam.add("c1", "eth0") == ["10.1.0.2"]
    files = {path.name: (path.read_bytes(), path.stat().st_mode & 0o777) for path in ipam.directory.iterdir()}
    assert files == {
        "10.1.0.2": (b"c1\r\neth0", 0o600),
        "last_reserved_ip.0": (b"10.1.0.2", 0o600),
        "lock": (b"", 0o750),
    }
    assert ipam.directory.stat().st_mode & 0o777 == 0o755
    assert (ipam.data_dir / ".shibafu").stat().st_mode & 0o777 == 0o700
    assert ipam.index_directory.stat().st_mode & 0o777 == 0o700
    assert not (ipam.index_directory / "aside").exists()


def test_ipv6_leases_have_canonical_names(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path, {"subnet": "fd00:9::/64"})
    assert ipam.add() == ["fd00:9::2"]
    assert ipam.leases() == {"fd00:9::2": "c1/eth0"}


def test_round_robin(ipam: Ipam) -> None:
    assert [ipam.add(f"c{n}") for n in range(3)] == [["10.1.0.2"], ["10.1.0.3"], ["10.1.0.4"]]
    ipam.succeed("DEL", "c0")
    ipam.succeed("DEL", "c2")
    assert ipam.add("c3") == ["10.1.0.5"]
    (ipam.directory / "last_reserved_ip.0").write_text("10.1.0.253")
    assert [ipam.add("c4"), ipam.add("c5"), ipam.add("c6")] == [["10.1.0.254"], ["10.1.0.2"], ["10.1.0.4"]]


@pytest.mark.parametrize("content", ["", "bogus", "10.9.0.1", "10.1.0.1"])
def test_a_last_address_of_no_use(ipam: Ipam, content: str) -> None:
    ipam.add("c1")
    (ipam.directory / "last_reserved_ip.0").write_text(content)
    assert ipam.add("c2") == ["10.1.0.3"]


def test_each_range_set_has_its_own_last_address(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path, DUAL)
    assert ipam.add("c1") == ["10.1.0.2", "fd00::2"]
    assert ipam.add("c2", runtimeConfig={"ips": ["fd00::80"]}) == ["10.1.0.3", "fd00::80"]
    assert ipam.add("c3") == ["10.1.0.4", "fd00::81"]
    ipam.check_index()


def test_interfaces_of_one_container(ipam: Ipam) -> None:
    assert [ipam.add("c1", "eth0"), ipam.add("c1", "eth1")] == [["10.1.0.2"], ["10.1.0.3"]]
    ipam.succeed("DEL", "c1", "eth0")
    assert ipam.leases() == {"10.1.0.3": "c1/eth1"}


def test_a_second_address_of_one_pool_is_refused(ipam: Ipam) -> None:
    ipam.add("c1")
    assert ipam.fail("ADD", "c1") == (
        NO_ADDRESS,
        "failed to allocate for range 0: 10.1.0.2 has been allocated to c1, "
        "duplicate allocation is not allowed",
    )
    assert ipam.leases() == {"10.1.0.2": "c1/eth0"}
    assert ipam.add("c1", cni_args="IP=10.1.0.9") == ["10.1.0.9"]  # as in the reference
    ipam.succeed("CHECK", "c1")
    ipam.succeed("DEL", "c1")
    assert not ipam.leases()


def test_a_requested_address_that_is_taken(ipam: Ipam) -> None:
    ipam.add("c1")
    assert ipam.fail("ADD", "c2", cni_args="IP=10.1.0.2") == (
        NO_ADDRESS,
        "failed to allocate for range 0: requested IP address 10.1.0.2 is not available in range set "
        "10.1.0.1-10.1.0.254",
    )
    ipam.check_index()
    assert ipam.is_index_valid()


def test_exhausted(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path, TINY)
    ipam.add("c1")
    assert ipam.fail("ADD", "c2") == (
        TRY_AGAIN_LATER,
        "failed to allocate for range 0: no IP addresses available in range set: 10.1.0.1-10.1.0.2",
    )
    ipam.succeed("DEL", "c1")
    assert ipam.add("c2") == ["10.1.0.2"]


def test_a_failed_add_releases_what_it_took(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path, {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/30"}]]})
    ipam.add("c1")
    before = ipam.leases()
    assert ipam.fail("ADD", "c2")[1].startswith("failed to allocate for range 1: no IP addresses")
    assert ipam.leases() == before
    ipam.check_index()
    assert ipam.is_index_valid()


def test_a_failed_add_keeps_what_the_container_had(tmp_path: Path) -> None:
    one = Ipam(tmp_path)
    one.add("c1")
    two = Ipam(tmp_path, {"ranges": [[{"subnet": "10.2.0.0/24"}], [{"subnet": "10.1.0.0/24"}]]})
    assert two.fail("ADD", "c1")[1].endswith("duplicate allocation is not allowed")
    assert one.leases() == {"10.1.0.2": "c1/eth0"}
    one.check_index()


def test_del(ipam: Ipam) -> None:
    ipam.succeed("DEL")
    assert not ipam.data_dir.exists()
    ipam.add("c1")
    ipam.add("c2")
    for _ in range(2):
        ipam.succeed("DEL", "c1", netns="")
    assert ipam.leases() == {"10.1.0.3": "c2/eth0"}
    ipam.check_index()


def test_del_needs_no_sensible_ranges(ipam: Ipam) -> None:
    ipam.add("c1")
    ipam.section["subnet"] = "bogus"
    ipam.succeed("DEL", "c1", cni_args="bogus")
    assert not ipam.leases()


def test_check(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path / "networks", DUAL)
    missing = (CHECK_FAILED, "host-local: Failed to find address added by container c1")
    assert ipam.fail("CHECK") == missing
    assert not ipam.data_dir.exists()
    ipam.add()
    ipam.succeed("CHECK")
    assert ipam.fail("CHECK", ifname="eth1") == missing
    (ipam.directory / "fd00::2").unlink()
    assert ipam.fail("CHECK") == missing
    (ipam.directory / "fd00::2").write_bytes(b"c2\r\neth0")
    assert ipam.fail("CHECK") == missing


def test_check_believes_the_leases_and_not_the_index(ipam: Ipam) -> None:
    ipam.add()
    (ipam.directory / "10.1.0.2").write_bytes(b"c2\r\neth0")
    assert ipam.is_index_valid()
    assert ipam.fail("CHECK")[0] == CHECK_FAILED
    ipam.succeed("CHECK", "c2")


def test_check_does_not_wait_for_calls_that_change_other_leases(ipam: Ipam) -> None:
    ipam.add()
    with (ipam.directory / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ipam.succeed("CHECK")


def test_check_finds_leases_that_are_not_recorded(ipam: Ipam) -> None:
    ipam.add()
    ipam.write_lease("10.1.0.50", b"c2\r\neth0")
    assert not ipam.is_index_valid()
    ipam.succeed("CHECK")
    ipam.succeed("CHECK", "c2")


def test_check_where_the_ranges_were_changed_since(ipam: Ipam) -> None:
    ipam.add()
    ipam.section["subnet"] = "10.2.0.0/24"
    ipam.succeed("CHECK")
    ipam.succeed("DEL")
    assert ipam.fail("CHECK")[0] == CHECK_FAILED


def test_gc(ipam: Ipam) -> None:
    for container, ifname in (("c1", "eth0"), ("c1", "eth1"), ("c2", "eth0")):
        ipam.add(container, ifname)
    ipam.write_lease("10.1.0.50", b"c1")
    ipam.write_lease("10.1.0.51", b"c3")
    ipam.write_lease("10.1.0.52", b"c4\r\neth0")
    ipam.write_lease("10.1.0.53", b"")
    everything = ipam.leases()

    ipam.succeed("GC")
    assert ipam.leases() == everything
    assert ipam.collect_garbage(("c1", "eth0"), ("c9", "eth0")) == (0, None)
    assert ipam.leases() == {"10.1.0.2": "c1/eth0", "10.1.0.50": "c1"}
    ipam.check_index()
    assert ipam.is_index_valid()
    assert ipam.collect_garbage() == (0, None)
    assert not ipam.leases()


def test_gc_of_an_unknown_network(ipam: Ipam) -> None:
    assert ipam.collect_garbage() == (0, None)
    assert not ipam.data_dir.exists()


def test_gc_goes_on_and_reports_everything(ipam: Ipam, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        ipam.add(f"c{n}")
    real = os.unlink

    def refuse(path: str) -> None:
        if path.endswith(("/10.1.0.2", "/10.1.0.4")):
            raise PermissionError(1, "Operation not permitted", path)
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        status, error = ipam.collect_garbage()
    assert (status, error["code"]) == (1, IO_FAILURE)
    assert "10.1.0.2: operation not permitted" in error["msg"]
    assert "10.1.0.4: operation not permitted" in error["msg"]
    assert set(ipam.leases()) == {"10.1.0.2", "10.1.0.4"}
    assert ipam.is_index_valid()
    ipam.check_index()
    assert ipam.add("c9") == ["10.1.0.5"]


def test_status(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path / "networks", {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/30"}]]})
    ipam.succeed("STATUS")
    assert not ipam.data_dir.exists()
    ipam.add()
    stamps = {path: path.stat().st_mtime_ns for path in ipam.data_dir.rglob("*")}
    full = (NOT_AVAILABLE, "no IP addresses available in range set: 10.2.0.1-10.2.0.2")
    assert ipam.fail("STATUS") == full
    os.utime(ipam.directory)  # the same without the index
    stamps[ipam.directory] = ipam.directory.stat().st_mtime_ns
    assert ipam.fail("STATUS") == full
    assert stamps == {path: path.stat().st_mtime_ns for path in ipam.data_dir.rglob("*")}


def test_networks_do_not_know_each_other(tmp_path: Path) -> None:
    one, other = Ipam(tmp_path), Ipam(tmp_path, config={"name": "other"})
    assert one.add() == other.add() == ["10.1.0.2"]
    one.succeed("DEL")
    other.succeed("CHECK")


def test_a_container_that_is_not_there_yet_or_never(ipam: Ipam) -> None:
    ipam.add("c1", netns="none")
    assert "duplicate allocation" in ipam.fail("ADD", "c1", netns="none")[1]
    ipam.add("c2", netns=LIVING_NETNS)
