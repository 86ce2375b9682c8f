"""The log of a container: its size, and reading it while new files are begun."""

import os
from pathlib import Path

import pytest

from shibafu.container.log_reader import LogReader
from shibafu.monitor.log_writer import LogWriter

LIMIT = 1000


def make_lines(first: int, last: int) -> bytes:
    return b"".join(b"line %03d\n" % number for number in range(first, last))  # 9 bytes each


def read_all(reader: LogReader) -> bytes:
    content = b""
    while piece := reader.read():
        content += piece
    return content


def read_path(path: Path) -> bytes:
    reader = LogReader(path)
    try:
        return read_all(reader)
    finally:
        reader.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.mark.parametrize("count", [1, 111, 112, 222, 223, 900])
def test_the_last_is_kept_and_two_files_at_most(path: Path, count: int) -> None:
    log = LogWriter(str(path), LIMIT)
    for number in range(count):
        log.write(make_lines(number, number + 1))
    sizes = {file.name: file.stat().st_size for file in path.parent.iterdir()}
    assert set(sizes) <= {"log", "log.1"}
    assert all(0 < size <= LIMIT for size in sizes.values())
    kept = read_path(path)
    assert make_lines(0, count).endswith(kept)
    assert len(kept) > min(9 * count - 1, LIMIT)


def test_it_goes_on_where_it_was(path: Path) -> None:
    LogWriter(str(path), LIMIT).write(make_lines(0, 100))
    log = LogWriter(str(path), LIMIT)
    log.write(make_lines(100, 150))
    assert path.with_name("log.1").read_bytes() == make_lines(0, 100)
    assert read_path(path) == make_lines(0, 150)


def test_nobody_else_may_read_it(path: Path) -> None:
    before = os.umask(0)
    try:
        log = LogWriter(str(path), LIMIT)
        log.write(make_lines(0, 100))
        log.write(make_lines(0, 100))
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize("step", [1, 7, 110])
def test_a_reader_follows_it(path: Path, step: int) -> None:
    """Looks as often as a new file is begun at most: it misses nothing, and reads nothing twice."""
    log = LogWriter(str(path), LIMIT)
    reader = LogReader(path)
    read = b""
    for number in range(0, 880, step):
        log.write(make_lines(number, number + step))
        read += read_all(reader)
    assert read == make_lines(0, number + step)
    reader.close()


def test_a_reader_that_is_late_reads_what_is_left(path: Path) -> None:
    log = LogWriter(str(path), LIMIT)
    reader = LogReader(path)
    log.write(make_lines(0, 10))
    assert read_all(reader) == make_lines(0, 10)
    for number in range(10, 900):
        log.write(make_lines(number, number + 1))
    log.write(b"end\n")
    read = read_all(reader)
    assert read == make_lines(10, 111) + read_path(path)
    reader.close()


def test_a_reader_of_a_container_that_is_removed(path: Path) -> None:
    log = LogWriter(str(path), LIMIT)
    log.write(make_lines(0, 10))
    reader = LogReader(path)
    log.write(make_lines(10, 20))
    path.unlink()
    assert read_all(reader) == make_lines(0, 20)
    reader.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_no_error(path: Path) -> None:
    log = LogWriter(str(path), LIMIT)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log.descriptor)
    log.write(make_lines(0, 10))
    os.close(full)


@pytest.mark.parametrize("left", ["log.new", "log.former"])
def test_what_a_killed_monitor_left(path: Path, left: str) -> None:
    path.with_name(left).write_bytes(b"left")
    log = LogWriter(str(path), LIMIT)
    log.write(make_lines(0, 100))
    log.write(make_lines(100, 200))
    assert read_path(path) == make_lines(0, 200)
    assert {file.name for file in path.parent.iterdir()} == {"log", "log.1"}
