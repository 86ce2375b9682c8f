"""Processes that are killed: launchers, and those of the engine that have a call."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from json import loads
from pathlib import Path

import pytest

from support.engine import Engine
from support.ipam_calls import Ipam
from support.killed_calls import assert_clean
from support.machine import Call, Config, Machine
from support.waiting import wait_for

pytestmark = pytest.mark.root

# A delegate that takes as long as it is told to.
SLOW = """
if [ "$CNI_COMMAND" = ADD ] && [ -e "$WAIT" ]; then
    echo $PPID $$ >"$WAIT.new" && mv "$WAIT.new" "$WAIT.pids"
    while [ -e "$WAIT" ]; do sleep 0.02; done
fi
exec $REAL
"""
LOST = {"code": 11, "msg": "the process of the engine that ran this call has ended"}


def is_running(pid: int) -> bool:
    """Say whether a process has not ended, not even to be collected."""
    with suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


class Slow:
    """An ADD that the engine has accepted, and that waits for its delegate.

    Args:
        machine: where.
        config: its network.
    """

    def __init__(self, machine: Machine, config: Config) -> None:
        self.wait = machine.directory / "wait"
        self.wait.touch()
        self.env = {"CNI_PATH": machine.make_plugin(SLOW), "WAIT": str(self.wait)}
        self.call: Call = machine.start("ADD", config, **self.env)
        pids = self.wait.with_name("wait.pids")
        wait_for(pids.exists)
        self.worker, self.delegate = (int(pid) for pid in pids.read_text().split())
        self.launcher = self.call.process.pid

    def go_on(self) -> None:
        """Let the delegate do its work."""
        self.wait.unlink(missing_ok=True)


@pytest.fixture
def config(machine: Machine) -> Config:
    return machine.config("10.10.0.0/24", "fd00:10::/64")


@pytest.fixture
def before(machine: Machine) -> dict[str, object]:
    return machine.snapshot()


@pytest.fixture
def slow(engine: Engine, machine: Machine, config: Config, before: dict[str, object]) -> Iterator[Slow]:
    made = Slow(machine, config)
    yield made
    made.go_on()
    made.call.process.kill()


def assert_remedied(machine: Machine, config: Config, before: dict[str, object]) -> None:
    """Do what a runtime does: DEL, and another try."""
    machine.delete(config)
    assert_clean(machine, before)
    machine.add(config)
    machine.check(config)
    machine.delete(config)
    assert_clean(machine, before)


# The launcher


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_launcher_that_is_ended_ends_its_call(
    engine: Engine, machine: Machine, config: Config, before: dict[str, object], slow: Slow, number: int
) -> None:
    with engine.expect("lost shibafu-bridge ADD"):
        os.kill(slow.launcher, number)
        begin = time.monotonic()
        answer = slow.call.finish()
        assert (answer.status, answer.stdout, answer.stderr) == (-number, b"", "")
        wait_for(lambda: not is_running(slow.worker) and not is_running(slow.delegate))
        assert time.monotonic() - begin < 1
    assert_remedied(machine, config, before)


def test_a_call_that_is_interrupted_is_undone(
    engine: Engine, machine: Machine, before: dict[str, object], slow: Slow
) -> None:
    """As one is that starts cold; others would be killed in the middle."""
    with engine.expect("failed shibafu-bridge ADD", "served shibafu-ipam DEL"):
        os.kill(slow.launcher, signal.SIGINT)
        answer = slow.call.finish()
    assert (answer.status, answer.stdout, answer.stderr) == (-signal.SIGINT, b"", "")
    assert not is_running(slow.delegate)
    assert_clean(machine, before)


def test_an_engine_that_was_started_with_signals_blocked(own_home: Path) -> None:
    blocking = ("/usr/bin/env", "--block-signal=CHLD,INT,TERM")
    with (
        Engine(own_home, prefix=blocking) as engine,
        engine.expect("lost shibafu-hook"),
        subprocess.Popen([own_home / "shibafu-hook"], env={}, stdin=subprocess.PIPE) as hook,
    ):
        wait_for(lambda: engine.count_busy() > 0)
        hook.kill()
        # Its process would read the end of stdin, were that closed before, and fail.
        wait_for(lambda: engine.count_busy() == 0)
    assert engine.process.returncode == 0


def test_a_launcher_that_is_interrupted_when_its_call_is_done(engine: Engine, ipam: Ipam) -> None:
    """It has sent the call, and goes on only then: it does not end as if the call had not been done."""
    late = "--inject=sendmsg:signal=INT:delay_exit=500000:when=1"
    with engine.expect("served shibafu-ipam ADD"):
        ipam.add("/usr/bin/strace", "--quiet=all", "--output=/dev/null", "--trace=sendmsg", late)


def test_a_launcher_that_is_stopped_and_goes_on(
    engine: Engine, machine: Machine, config: Config, before: dict[str, object], slow: Slow
) -> None:
    os.kill(slow.launcher, signal.SIGSTOP)
    slow.go_on()
    wait_for(lambda: not is_running(slow.worker))
    assert is_running(slow.launcher)
    os.kill(slow.launcher, signal.SIGCONT)
    answer = slow.call.finish()
    assert answer.status == 0
    assert answer.json["ips"][0]["address"] == "10.10.0.2/24"
    machine.delete(config)
    assert_clean(machine, before)


def take_number(pid: int) -> "subprocess.Popen[bytes] | None":
    """Return a process that has a number which was another's; None if somebody else was first."""
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    process = subprocess.Popen(["/usr/bin/sleep", "60"])
    if process.pid == pid:
        return process
    process.kill()
    process.wait()
    return None


def test_an_interruption_that_comes_late_is_no_stranger_s(
    machine: Machine, config: Config, before: dict[str, object], slow: Slow
) -> None:
    """A launcher was stopped until its call's process had ended, and another one had that number."""
    os.kill(slow.launcher, signal.SIGSTOP)
    slow.go_on()
    wait_for(lambda: not Path(f"/proc/{slow.worker}").exists())
    tries = (take_number(slow.worker) for _ in range(100))
    stranger = next(process for process in tries if process is not None)
    try:
        os.kill(slow.launcher, signal.SIGINT)
        os.kill(slow.launcher, signal.SIGCONT)
        assert slow.call.finish().status == 0
        assert is_running(stranger.pid)
    finally:
        stranger.kill()
        stranger.wait()
    machine.delete(config)
    assert_clean(machine, before)


# The process that does the call


def test_a_process_that_is_killed_in_its_call(
    engine: Engine, machine: Machine, config: Config, before: dict[str, object], slow: Slow
) -> None:
    with engine.expect("lost shibafu-bridge ADD"):
        os.kill(slow.worker, signal.SIGKILL)
        wait_for(lambda: not is_running(slow.worker))
        # Nobody ends its delegate, which is no different without the engine, and has the caller's stderr.
        assert is_running(slow.delegate)
        os.kill(slow.delegate, signal.SIGKILL)
        answer = slow.call.finish()
    assert (answer.status, answer.stderr) == (1, "")
    assert answer.json.items() >= LOST.items()
    assert_remedied(machine, config, before)


def test_a_hook_whose_process_is_killed(engine: Engine) -> None:
    """It has no answer but a sentence."""
    with subprocess.Popen(
        [engine.home / "shibafu-hook"],
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as hook:
        assert hook.stdin is not None
        pipe = os.readlink(f"/proc/{hook.pid}/fd/0")

        def find() -> list[int]:
            return [pid for pid in engine.processes() if os.readlink(f"/proc/{pid}/fd/0") == pipe]

        with engine.expect("lost shibafu-hook"):
            wait_for(lambda: bool(find()) and engine.count_busy() > 0)
            os.kill(find()[0], signal.SIGKILL)
            stdout, stderr = hook.communicate(timeout=60)
    assert (hook.returncode, stdout) == (1, b"")
    assert stderr.startswith(b"shibafu-hook: the process of the engine that ran this call has ended")


@contextmanager
def signalled_at(engine: Engine, system_call: str, number: int, name: str = "KILL") -> Iterator[None]:
    """Have each process that waits for a call get a signal when it makes a system call for the n-th time.

    SIGKILL comes before that is done.
    """
    engine.wait_until_idle()
    pids = engine.processes()
    inject = f"--inject={system_call}:signal={name}:when={number}"
    tracer = subprocess.Popen(
        ["/usr/bin/strace", "--quiet=all", "--output=/dev/null", inject, *(f"--attach={pid}" for pid in pids)]
    )
    try:
        wait_for(lambda: all("TracerPid:\t0\n" not in Path(f"/proc/{p}/status").read_text() for p in pids))
        # A spare whose system call was interrupted is about to make it again.
        time.sleep(0.05)
        yield
    finally:
        tracer.terminate()
        tracer.wait(10)


def test_processes_that_are_killed_before_they_have_the_call(own_engine: Engine, tmp_path: Path) -> None:
    """Each was woken for it, and no other one with it."""
    ipam = Ipam(own_engine.home / "shibafu-ipam", tmp_path / "networks")
    with own_engine.expect("served shibafu-ipam ADD"), signalled_at(own_engine, "accept4", 1):
        ipam.add()


@pytest.mark.parametrize("number", [1, 2], ids=["ready", "accepted"])
def test_a_process_that_is_killed_before_it_accepts(own_engine: Engine, tmp_path: Path, number: int) -> None:
    ipam = Ipam(own_engine.home / "shibafu-ipam", tmp_path / "networks")
    with own_engine.expect(), signalled_at(own_engine, "sendto", number):
        ipam.add()
    with own_engine.expect("served shibafu-ipam DEL"):
        ipam.run(env={"CNI_COMMAND": "DEL"})


def test_a_process_that_is_killed_when_it_has_accepted(own_engine: Engine, tmp_path: Path) -> None:
    ipam = Ipam(own_engine.home / "shibafu-ipam", tmp_path / "networks")
    with signalled_at(own_engine, "sendto", 3):
        process = ipam.start()
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (1, b"")
    assert loads(stdout).items() >= LOST.items()
    assert ipam.leases() == []
    ipam.add()


@pytest.mark.parametrize("number", [4, 5], ids=["before its answer", "behind it"])
def test_a_process_that_is_killed_at_its_answer(own_engine: Engine, tmp_path: Path, number: int) -> None:
    """What is printed is one document, which the runtime can read."""
    ipam = Ipam(own_engine.home / "shibafu-ipam", tmp_path / "networks")
    with signalled_at(own_engine, "sendto", number):
        process = ipam.start()
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    if number == 4:
        assert (loads(stdout)["code"], stderr) == (11, b"")
    else:
        assert loads(stdout)["ips"][0]["address"]
        assert stderr.startswith(f"shibafu-ipam: {LOST['msg']}".encode())
    ipam.run(env={"CNI_COMMAND": "DEL"})
    assert ipam.leases() == []


@pytest.mark.parametrize("verb", ["ADD", "DEL", "GC"])
def test_a_process_that_is_killed_at_any_step(
    engine: Engine, machine: Machine, config: Config, before: dict[str, object], verb: str
) -> None:
    """What tests/dist does to calls that start cold, at some of their steps."""
    machine.add(config)
    machine.delete(config)
    killed = 0
    # Requests to the kernel, and words to launcher and parent: the third is the first after acceptance.
    for number in range(3, 13, 2):
        if verb != "ADD":
            machine.add(config)
        with signalled_at(engine, "sendto", number):
            answer = machine.call(verb, config | {"cni.dev/valid-attachments": []})
        if answer.status:
            assert answer.json.items() >= LOST.items(), (number, answer)
            killed += 1
        machine.delete(config)
        assert_clean(machine, before)
    assert killed >= 2
    machine.add(config)
    machine.check(config)
    machine.delete(config)


def test_a_call_that_is_interrupted_at_any_step(
    engine: Engine, machine: Machine, config: Config, before: dict[str, object]
) -> None:
    """It undoes what it has done, and ends as a process does that is interrupted; or it is done."""
    machine.add(config)
    machine.delete(config)
    interrupted = 0
    # From its acceptance on, until it has told its parent that it is done.
    for number in range(2, 22):
        with signalled_at(engine, "sendto", number, "INT"):
            answer = machine.call("ADD", config)
        if answer.status == 0:
            machine.check(config | {"prevResult": answer.json})
            machine.delete(config)
        else:
            assert (answer.status, answer.stdout) == (-signal.SIGINT, b""), (number, answer)
            interrupted += 1
        assert_clean(machine, before)
    assert interrupted >= 5
