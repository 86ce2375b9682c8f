"""Records of the index that somebody has changed: no lease is lost with them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shibafu_ipam import store as store_module
from support.ipam import Ipam


@pytest.fixture
def ipam(tmp_path: Path) -> Ipam:
    return Ipam(tmp_path / "networks")


def _truncate(records: Path) -> None:
    for path in records.iterdir():
        os.truncate(path, 0)


def _remove(records: Path) -> None:
    for path in records.iterdir():
        path.unlink()


def _cut(records: Path) -> None:
    for path in records.iterdir():
        os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("damage", [_truncate, _remove, shutil.rmtree, _cut])
@pytest.mark.parametrize("is_other_between", [False, True])
def test_a_lease_without_its_record_is_found_all_the_same(
    ipam: Ipam, damage: Callable[[Path], None], is_other_between: bool
) -> None:
    ipam.add("c1")
    ipam.add("c2")
    damage(ipam.index_directory / "records")
    if is_other_between:
        ipam.add("c3")
        ipam.succeed("DEL", "c3")
    assert "duplicate allocation" in ipam.fail("ADD", "c2")[1]
    ipam.succeed("DEL", "c1")
    assert ipam.leases() == {"10.1.0.3": "c2/eth0"}
    ipam.check_index()


def test_a_del_of_nothing_reads_no_leases(ipam: Ipam, monkeypatch: pytest.MonkeyPatch) -> None:
    for container in ("c1", "c2", "c3"):
        ipam.add(container)
    ipam.succeed("DEL", "c1")
    monkeypatch.setattr(store_module.Store, "leases", None)
    ipam.succeed("DEL", "c1")
    ipam.succeed("DEL", "unknown")
    assert ipam.add("c4") == ["10.1.0.5"]
    ipam.succeed("DEL", "c4")
    ipam.succeed("DEL", "c4")


def test_a_file_system_that_keeps_no_such_times(ipam: Ipam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shibafu_ipam.index_records._sign", lambda *_: None)
    ipam.add("c1")
    ipam.succeed("DEL", "c1")
    ipam.succeed("DEL", "c1")
    assert ipam.add("c1") == ["10.1.0.3"]
