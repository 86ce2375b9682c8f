"""The processes that wait for calls: ready, taken in their order, and gone with the engine."""

import os
import signal
from pathlib import Path

import pytest

from shibafu.engine.parent import SPARES
from support.engine import Engine
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
