"""What many calls leave in the engine: nothing."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.engine import Engine, tally
from support.ipam_calls import Ipam

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
