"""The processes that wait for calls: ready, taken in their order, and gone with the engine."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from json import dumps
from pathlib import Path

import pytest

from shibafu.engine.location import EngineLocation
from shibafu.engine.parent import SPARES
from support.engine import Engine, is_listening, read_status, tally
from support.ipam_calls import Ipam
from support.memory import read_memory
from support.waiting import wait_for

pytestmark = pytest.mark.root


def is_ready(pid: int) -> bool:
    """Return whether a spare has memory of its own, which a call would have to copy otherwise, and waits."""
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "S" and read_memory(pid, "Private_Dirty") > 8 << 20


def wait_until_ready(engine: Engine) -> None:
    """Wait until there are as many spares as ever, and all are ready."""
    engine.wait_until_idle()
    wait_for(lambda: [is_ready(pid) for pid in engine.processes()] == [True] * SPARES)


def test_the_youngest_that_is_ready_gets_the_next_call(own_engine: Engine, tmp_path: Path) -> None:
    """Most of its memory is still in the processor's caches."""
    wait_until_ready(own_engine)
    first = set(own_engine.processes())
    for _ in range(5):
        Ipam(own_engine.home / "shibafu-ipam", tmp_path / "networks").run(env={"CNI_COMMAND": "VERSION"})
        wait_until_ready(own_engine)
    assert len(first & set(own_engine.processes())) == SPARES - 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_they_end_with_the_engine(own_engine: Engine, number: signal.Signals) -> None:
    own_engine.wait_until_idle()
    spares = own_engine.processes()
    os.kill(own_engine.pid, number)
    wait_for(lambda: not any(Path(f"/proc/{pid}/root").exists() for pid in spares))


def test_one_that_is_stopped_does_not_keep_the_engine(own_engine: Engine) -> None:
    own_engine.wait_until_idle()
    os.kill(own_engine.processes()[0], signal.SIGSTOP)
    begin = time.monotonic()
    own_engine.process.terminate()
    own_engine.process.wait(60)
    assert time.monotonic() - begin < 20


TYPING = """
"$1"/shibafu-engine --untrained & engine=$!
until [ -e "$2/listens" ]; do sleep 0.02; done
"$1"/shibafu-ipam
echo "status $?"
until [ -e "$2/seen" ]; do sleep 0.02; done
kill $engine
wait
"""


def test_a_call_reads_from_the_terminal_that_the_engine_runs_in(own_home: Path, tmp_path: Path) -> None:
    place = EngineLocation(str(own_home))
    env = {"CNI_COMMAND": "STATUS", "CNI_PATH": "/", "PATH": "/usr/bin:/bin"}
    master, terminal = os.openpty()
    shell = subprocess.Popen(
        ["/usr/bin/setsid", "--ctty", "--wait", "/bin/sh", "-c", TYPING, "sh", own_home, tmp_path],
        env=env,
        stdin=terminal,
        stdout=subprocess.PIPE,
    )
    try:
        wait_for(lambda: is_listening(place.status))
        (tmp_path / "listens").touch()
        ipam = {
            "type": "shibafu-ipam",
            "ranges": [[{"subnet": "10.9.0.0/24"}]],
            "dataDir": f"{tmp_path}/leases",
        }
        os.write(master, dumps({"cniVersion": "1.1.0", "name": "net", "ipam": ipam}).encode() + b"\n\x04")
        wait_for(lambda: tally(read_status(place.status))["served shibafu-ipam STATUS"] == 1)
        (tmp_path / "seen").touch()
        assert b"status 0" in shell.communicate(timeout=60)[0]
    finally:
        with suppress(OSError):
            os.kill(read_status(place.status)["pid"], signal.SIGKILL)
        shell.kill()
        shell.wait()
        os.close(master)
        os.close(terminal)
