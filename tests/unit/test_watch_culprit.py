"""Who has changed something, as the log of the watcher calls it."""

import os
import subprocess
from pathlib import Path

import pytest

from shibafu.watch.culprit import describe_named, describe_process


def test_a_process_that_is_there_has_its_name() -> None:
    name = Path("/proc/self/comm").read_text().strip()
    assert describe_process(os.getpid()) == f"{name}[{os.getpid()}]"


def test_a_process_that_has_ended_has_its_number_only() -> None:
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    assert describe_process(process.pid) == f"process {process.pid}"


@pytest.mark.parametrize("pid", [0, -1, 1 << 23])
def test_what_is_no_process_is_nobody(pid: int) -> None:
    assert describe_process(pid) == ""


@pytest.mark.parametrize("name", ["", "a\nnetwork web: healed"])
def test_a_name_that_would_mislead_is_left_out(name: str) -> None:
    assert describe_named(name, os.getpid()) == f"process {os.getpid()}"
