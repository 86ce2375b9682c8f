"""What many calls leave in the engine: nothing."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shibafu.engine.parent import SPARES
from support.engine import Engine, tally
from support.ipam_calls import Ipam
from support.waiting import wait_for

pytestmark = pytest.mark.root

AT_ONCE = 8
# Memory that comes and goes, in KiB.
SLACK = 1024


def read_field(pid: int, name: str) -> int:
    """Return a number of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def make_calls(engine: Engine, directory: Path, count: int) -> None:
    """Make calls that succeed, that fail, and that are refused, some at a time."""

    def make_some(number: int) -> None:
        ipam = Ipam(engine.home / "shibafu-ipam", directory / f"networks{number}")
        for _ in range(count // AT_ONCE // 5):
            ipam.run()
            assert len(ipam.leases()) == 1
            ipam.run(env={"CNI_COMMAND": "VERSION"})
            ipam.run(env={"CNI_COMMAND": "DEL"})
            assert ipam.start(env={"CNI_IFNAME": ""}).wait(60) == 1
            ipam.run("/usr/bin/setpriv", "--bounding-set=-sys_nice", env={"CNI_COMMAND": "VERSION"})

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert len(list(pool.map(make_some, range(AT_ONCE)))) == AT_ONCE


def settle(engine: Engine) -> dict[str, object]:
    """Wait until the engine has nothing to do, and return what it has."""
    engine.wait_until_idle()
    # Spares make their memory ready when they have waited a moment.
    time.sleep(0.1)
    return {
        "descriptors": sorted(os.readlink(entry) for entry in Path(f"/proc/{engine.pid}/fd").iterdir()),
        "threads": read_field(engine.pid, "Threads"),
        "files": sorted(path.name for path in Path(engine.place.directory).glob(f"{engine.place.name}.*")),
    }


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.long)])
def test_calls_leave_nothing(own_engine: Engine, tmp_path: Path, count: int) -> None:
    make_calls(own_engine, tmp_path, 200)
    before, memory = settle(own_engine), read_field(own_engine.pid, "RssAnon")
    told = tally(own_engine.read_status())
    make_calls(own_engine, tmp_path, count)
    assert settle(own_engine) == before
    assert read_field(own_engine.pid, "RssAnon") < memory + SLACK
    each = count // AT_ONCE // 5 * AT_ONCE
    assert tally(own_engine.read_status()) - told == {
        "served shibafu-ipam ADD": each,
        "served shibafu-ipam VERSION": each,
        "served shibafu-ipam DEL": each,
        "failed shibafu-ipam ADD": each,
        "cold: the caller has fewer capabilities": each,
    }


def read_dirty(pid: int) -> int:
    """Return how much memory a process shares with no other, in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty:"))


def test_memory_of_spares_is_ready(own_engine: Engine) -> None:
    """A call that had to copy what it writes to would take a third longer."""
    own_engine.wait_until_idle()
    wait_for(lambda: [read_dirty(pid) > 8 << 20 for pid in own_engine.processes()] == [True] * SPARES)


def test_the_youngest_spare_gets_the_next_call(own_engine: Engine, tmp_path: Path) -> None:
    """Most of its memory is still in the processor's caches."""
    settle(own_engine)
    first = set(own_engine.processes())
    for _ in range(5):
        Ipam(own_engine.home / "shibafu-ipam", tmp_path / "networks").run(env={"CNI_COMMAND": "VERSION"})
        settle(own_engine)
    assert len(first & set(own_engine.processes())) == SPARES - 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_spares_end_with_the_engine(own_engine: Engine, number: signal.Signals) -> None:
    own_engine.wait_until_idle()
    spares = own_engine.processes()
    os.kill(own_engine.pid, number)
    wait_for(lambda: not any(Path(f"/proc/{pid}/root").exists() for pid in spares))
