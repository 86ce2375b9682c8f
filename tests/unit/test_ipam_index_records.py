"""The index's records of attachments."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.cni.names import calc_digest
from shibafu.lean.ip import Address, parse_address
from shibafu_ipam.index_records import IndexRecord, IndexRecords

A = parse_address("10.1.0.2")
B = parse_address("fd00::2")


@pytest.fixture
def records(tmp_path: Path) -> IndexRecords:
    return IndexRecords(str(tmp_path))


def look(record: IndexRecord | None) -> tuple[object, ...] | None:
    return None if record is None else (*record.owner, record.addresses, record.netns)


def find_same_file(container: str) -> str:
    """Return another container whose records are in the same file."""
    path = IndexRecords("")._path(container)
    return next(name for name in map(str, range(9999)) if IndexRecords("")._path(name) == path)


def test_writing_and_removing(records: IndexRecords) -> None:
    other = find_same_file("c1")
    for owner in (("c1", "eth0"), (other, "eth0"), ("c1", "eth1"), ("c1", "")):
        records.write(IndexRecord(*owner, [A], "/run/netns/x"))
    records.write(IndexRecord("c1", "eth0", [A, B], "/run/netns/y"))
    assert look(records.read("c1", "eth0")) == ("c1", "eth0", [A, B], "/run/netns/y")
    assert look(records.read("c1", "")) == ("c1", "", [A], "/run/netns/x")
    records.remove("c1", "eth0")
    records.remove("c1", "eth0")
    assert records.read("c1", "eth0") is None
    assert set(records.read_all()) == {(other, "eth0"), ("c1", "eth1"), ("c1", "")}
    records.replace_all([IndexRecord("c2", "eth0", [B])])
    assert set(records.read_all()) == {("c2", "eth0")}


def test_a_container_whose_name_ends_like_anothers(records: IndexRecords, tmp_path: Path) -> None:
    records.write(IndexRecord("c1", "eth0", [A]))
    path = next(tmp_path.iterdir())
    path.write_bytes(b"x" + path.read_bytes())
    assert records.read("c1", "eth0") is None


@pytest.mark.parametrize("netns", ["", "/run/netns/a b", "/run/tab\there", "/run/\udcff", "/run/\x0b\x85"])
def test_namespaces(records: IndexRecords, netns: str) -> None:
    records.write(IndexRecord("c1", "eth0", [A], netns))
    assert look(records.read("c1", "eth0")) == ("c1", "eth0", [A], netns)
    assert [look(record) for record in records.read_all().values()] == [("c1", "eth0", [A], netns)]


def test_from_where_a_namespace_was_seen(records: IndexRecords, tmp_path: Path) -> None:
    records.write(IndexRecord("c1", "eth0", [A], "/run/netns/x y", "4026531841.4026531836"))
    read = records.read("c1", "eth0")
    assert read is not None
    assert (read.netns, read.view) == ("/run/netns/x y", "4026531841.4026531836")
    # A view by itself says nothing; and earlier versions wrote none.
    records.write(IndexRecord("c1", "eth0", [A], "", "4026531841"))
    read = records.read("c1", "eth0")
    assert read is not None
    assert (read.netns, read.view) == ("", "")
    path = next(tmp_path.iterdir())
    fields = b"c1\teth0\t10.1.0.2\t/run/netns/x"
    path.write_bytes(fields + b"\t" + calc_digest(fields.decode(), size=4).encode() + b"\n")
    read = records.read("c1", "eth0")
    assert read is not None
    assert (read.netns, read.view) == ("/run/netns/x", "")


def test_a_namespace_that_a_line_cannot_hold_is_not_known(records: IndexRecords) -> None:
    records.write(IndexRecord("c1", "eth0", [A], "/run/line\nend"))
    assert look(records.read("c1", "eth0")) == ("c1", "eth0", [A], "")


@given(st.integers(0, 200), st.lists(st.integers(2, 250), min_size=1, max_size=4), st.integers(1, 40))
def test_a_line_that_was_half_written_is_no_record(cut: int, values: list[int], length: int) -> None:
    """What a killed write leaves, over whatever was there: a wrong path must never be believed."""
    with tempfile.TemporaryDirectory() as directory:
        records = IndexRecords(directory)
        addresses = [Address(4, (10 << 24) + value) for value in values]
        before = IndexRecord("c1", "eth0", addresses, "/proc/" + "1" * length + "/ns/net")
        after = IndexRecord("c1", "eth0", addresses[:1], "/run/netns/after")
        records.write(before)
        path = next(Path(directory).iterdir())
        old = path.read_bytes()
        records.write(after)
        new = path.read_bytes()[:cut]
        path.write_bytes(new + old[len(new) :])
        found = [look(record) for record in records.read_all().values()]
        assert found in ([], [look(before)], [look(after)])
