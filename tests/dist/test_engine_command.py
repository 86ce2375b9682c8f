"""`shibafu engine`, with an engine of the test's own, whose calls are real ones."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from dist.executables import ask_version
from shibafu.cli.parser import run
from support.command_line import LINES
from support.engine import copy_executables
from support.engine_command import EngineCommand, alter_build, is_alive, list_files
from support.machine import Machine
from support.namespaces import Namespace
from support.schemas import VALUES, assert_closed
from support.suite import Suite
from support.waiting import wait_for

pytestmark = pytest.mark.root


@pytest.fixture
def engine(built: Path, tmp_path: Path) -> Iterator[EngineCommand]:
    with EngineCommand(copy_executables(built, tmp_path / "shibafu")) as command:
        yield command


def test_one_life(engine: EngineCommand) -> None:
    assert engine.read_status(status=3) == {"running": False, "home": str(engine.home)}
    assert engine.run("status", status=3) == f"not running: calls of {engine.home} start cold\n"
    assert engine.run("stop") == "the engine is not running\n"

    pid = int(engine.run("start").removeprefix("started the engine: process "))
    status = engine.read_status()
    assert (status["running"], status["ending"], status["supervisor"]) == (True, False, "")
    assert (status["home"], status["pid"], status["trained"]) == (str(engine.home), pid, True)
    assert status["build"] == (engine.home / "_internal/build-id").read_text().strip()
    assert os.getsid(pid) == pid
    assert [os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1)] == ["/dev/null"] * 2
    assert {path.stat().st_mode & 0o777 for path in list_files(engine.home)} == {0o600}

    assert engine.run("stop") == "stopped the engine\n"
    assert not is_alive(pid)
    assert {path.suffix for path in list_files(engine.home)} == {".log"}
    assert engine.read_status(status=3)["running"] is False


def test_json_is_what_its_schemas_say(engine: EngineCommand) -> None:
    values = {"engine status": [engine.json("status", status=3)], "engine stop": [engine.json("stop")]}
    values["engine start"] = [engine.json("start"), engine.json("start")]
    ask_version(engine.home / "shibafu-bridge")
    ask_version("/usr/bin/unshare", "--pid", "--fork", str(engine.home / "shibafu-bridge"))
    wait_for(lambda: bool(engine.read_status()["calls"] and engine.read_status()["cold"]))
    values["engine status"].append(engine.json("status"))
    values["engine stop"].append(engine.json("stop"))
    assert set(values) == {line for line in LINES if line.startswith("engine ")} - {"engine run"}
    for line, printed in values.items():
        for value in printed:
            assert_closed(str(VALUES[line]), value)


def test_status_tells_what_was_done(engine: EngineCommand) -> None:
    engine.run("start")
    for _ in range(3):
        ask_version(engine.home / "shibafu-bridge")
    ask = ["/usr/bin/unshare", "--pid", "--fork", str(engine.home / "shibafu-bridge")]
    ask_version(*ask)
    wait_for(lambda: sum(one["count"] for one in engine.read_status()["calls"]) == 3)
    said = engine.run("status")
    assert said.startswith("running for ")
    words = [line.split() for line in said.splitlines()]
    (row,) = [line for line in words if line[:1] == ["shibafu-bridge"]]
    assert row[1:4] == ["VERSION", "served", "3"]
    assert row[5] == "ms"
    assert ["the", "caller", "is", "in", "another", "process", "namespace", "1"] in words
    metrics = engine.run("status", "--metrics", "-").splitlines()
    assert "shibafu_engine_up 1" in metrics
    counted = [line for line in metrics if line.startswith("shibafu_engine_call_seconds_count")]
    assert [line.split()[-1] for line in counted] == ["3"]


def test_metrics_in_a_file(engine: EngineCommand, tmp_path: Path) -> None:
    file = tmp_path / "shibafu.prom"
    engine.run("status", "--metrics", file, status=3)
    assert "shibafu_engine_up 0\n" in file.read_text()
    engine.run("start")
    engine.run("status", "--metrics", file)
    assert "shibafu_engine_up 1\n" in file.read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("shibafu.prom")] == [file.name]
    assert "metrics are not JSON" in engine.run("status", "--metrics", "-", "--format", "json", status=2)


def test_started_by_several_at_once(engine: EngineCommand) -> None:
    starting = [engine.start("start") for _ in range(3)]
    said = sorted(" ".join(one.communicate(timeout=60)) for one in starting)
    assert [one.returncode for one in starting] == [0, 0, 0]
    pid = engine.read_status()["pid"]
    running = f"the engine is running already: process {pid}\n "
    assert said == [f"started the engine: process {pid}\n ", running, running]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_in_the_foreground(engine: EngineCommand, tmp_path: Path, number: int) -> None:
    file = tmp_path / "shibafu.prom"
    foreground = engine.start("run", "--metrics", file)
    wait_for(file.exists)
    # node_exporter is not root.
    assert file.stat().st_mode & 0o777 == 0o644
    assert engine.read_status()["pid"] == foreground.pid
    assert "shibafu_engine_up 1\n" in file.read_text()
    assert "is running already" in engine.run("run", status=75)
    foreground.send_signal(number)
    assert foreground.communicate(timeout=60) == ("", "")
    assert foreground.returncode == 0
    assert "shibafu_engine_up 0\n" in file.read_text()


def test_stop_waits_for_calls(engine: EngineCommand, tmp_path: Path) -> None:
    """And so does the start of the next one."""
    plugins = tmp_path / "bin"
    plugins.mkdir()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with Namespace("host") as host:
        machine = Machine(Suite.of_executables(plugins, engine.home), host, tmp_path / "store")
        machine.directory.mkdir()
        waiting = machine.make_plugin(f'read word <{fifo}; exec "$REAL"')
        first = int(engine.run("start").split()[-1])
        call = machine.start("ADD", machine.config(), CNI_PATH=waiting)
        with fifo.open("w") as released:
            stopping = engine.start("stop")
            wait_for(lambda: bool(engine.read_status()["ending"]))
            assert engine.read_status()["busy"] == 1
            starting = engine.start("start")
            # It is done cold.
            ask_version(engine.home / "shibafu-bridge")
            time.sleep(0.5)
            assert (stopping.poll(), starting.poll()) == (None, None)
            assert engine.run("status").startswith("ending, after ")
            released.write("now\n")
        assert call.finish().status == 0
        assert stopping.communicate(timeout=60) == ("stopped the engine\n", "")
        second = int(starting.communicate(timeout=60)[0].split()[-1])
        assert second == engine.read_status()["pid"] != first
        machine.delete(machine.config())
        machine.close()


def test_another_build_takes_the_place(engine: EngineCommand) -> None:
    first = int(engine.run("start").split()[-1])
    alter_build(engine.home)
    assert f"started the engine: process {first}" not in engine.run("start")
    status = engine.read_status()
    assert status["pid"] != first
    assert status["build"] == "0123456789abcdef"
    assert not is_alive(first)
    ask_version(engine.home / "shibafu-bridge")
    wait_for(lambda: bool(engine.read_status()["calls"]))


def test_an_engine_that_nobody_reaches_ends(engine: EngineCommand) -> None:
    """Somebody has cleaned up in /run. Whoever runs it again, such as systemd, gets one that works."""
    first = int(engine.run("start").split()[-1])
    for path in list_files(engine.home):
        path.unlink()
    second = int(engine.run("start").split()[-1])
    wait_for(lambda: not is_alive(first))
    assert engine.read_status()["pid"] == second
    ask_version(engine.home / "shibafu-bridge")
    wait_for(lambda: bool(engine.read_status()["calls"]))


def test_executables_that_are_scripts(engine: EngineCommand) -> None:
    """They were built where there was no compiler for the launcher."""
    (engine.home / "_internal/launcher").unlink()
    said = engine.run("start", status=1)
    assert "built without musl-gcc" in said
    assert "musl-tools" in said


def test_an_engine_that_does_not_start(engine: EngineCommand) -> None:
    bundle = engine.home / "_internal/shibafu.bundle"
    content = bundle.read_bytes()
    bundle.write_bytes(content[: len(content) // 10])
    said = engine.run("start", status=1)
    assert said.startswith("shibafu: the engine has ended: ")
    assert "Error" in said
    assert said.count("\n") == 1


def test_an_engine_that_does_not_answer(engine: EngineCommand) -> None:
    pid = int(engine.run("start").split()[-1])
    os.kill(pid, signal.SIGSTOP)
    try:
        assert f"kill -KILL {pid}" in engine.run("status", status=1)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_an_engine_of_another_process_namespace(engine: EngineCommand) -> None:
    engine.run("start")
    inside = ["/usr/bin/unshare", "--pid", "--fork", "--mount-proc", str(engine.program), "engine", "stop"]
    done = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, "in another process namespace" in done.stderr) == (1, True)
    assert engine.read_status()["running"]


def test_sources_have_no_engine() -> None:
    for word in ("run", "start", "stop", "status"):
        said = StringIO()
        assert run(["engine", word], StringIO(), said) == 1
        assert "this installation has no engine" in said.getvalue()
