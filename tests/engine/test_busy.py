"""An engine that ends while it has many calls: no call is lost without a word, and none is done twice."""

import ctypes
import os
import signal
from pathlib import Path

import pytest

from support.engine import Engine, copy_executables, tally
from support.killed_calls import assert_clean
from support.machine import Answer, Call, Config, Machine
from support.suite import Suite
from support.waiting import wait_for

pytestmark = pytest.mark.root

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # fcntl(2), renameat2(2)
CONTAINERS = [f"c{i}" for i in range(64)]
FEWER = CONTAINERS[:32]


@pytest.fixture
def suite(own_engine: Engine, tmp_path: Path) -> Suite:
    """The executables of an engine that nobody else uses."""
    directory = tmp_path / "cni-bin"
    directory.mkdir()
    return Suite.of_executables(directory, own_engine.home)


@pytest.fixture
def config(machine: Machine) -> Config:
    return machine.config("10.10.0.0/16")


def prepare(machine: Machine, config: Config, names: list[str]) -> dict[str, object]:
    """Make containers, and the bridge; return what there is before any is attached."""
    for name in names:
        machine.container(name)
    machine.add(config)
    machine.delete(config)
    return machine.snapshot()


def start_half(machine: Machine, config: Config, names: list[str], half: int) -> dict[str, Call]:
    """Begin the ADDs of every second container."""
    return {name: machine.start("ADD", config, name) for name in names[half::2]}


def delete_all(machine: Machine, config: Config, names: list[str], before: dict[str, object]) -> None:
    """Detach all containers, and see that nothing is left of any."""
    for call in [machine.start("DEL", config, name) for name in names]:
        answer = call.finish()
        assert (answer.status, answer.stdout) == (0, b""), answer
    assert_clean(machine, before)


def assert_attached(machine: Machine, answers: dict[str, Answer]) -> None:
    """See that each container has the address that was told, which no other has."""
    told = {name: answer.json["ips"][0]["address"] for name, answer in answers.items() if answer.status == 0}
    assert len(set(told.values())) == len(told)
    for name, address in told.items():
        assert machine.addresses("eth0", machine.container(name)) == {address}


@pytest.mark.parametrize("part", [pytest.param("its first process", marks=pytest.mark.long), "all of it"])
def test_an_engine_that_is_killed(own_engine: Engine, machine: Machine, config: Config, part: str) -> None:
    before = prepare(machine, config, CONTAINERS)
    calls = start_half(machine, config, CONTAINERS, 0)
    wait_for(lambda: tally(own_engine.read_status())["served shibafu-bridge ADD"] > 5)
    processes = own_engine.processes()
    if part == "all of it":
        own_engine.kill()
    else:
        os.kill(own_engine.pid, signal.SIGKILL)
    calls |= start_half(machine, config, CONTAINERS, 1)
    answers = {name: call.finish() for name, call in calls.items()}
    failed = [name for name, answer in answers.items() if answer.status]
    # Killed between its answer and its end, a call has printed that, and nothing behind it.
    assert all("has ended" in answers[name].stderr or answers[name].json["code"] == 11 for name in failed), (
        answers
    )
    # What had been accepted goes on without its parent.
    assert not failed or part == "all of it"
    assert_attached(machine, answers)
    # All that it leaves ends with the calls.
    wait_for(lambda: not any(Path(f"/proc/{pid}/root").exists() for pid in processes))
    for name in failed:
        machine.delete(config, name)
        machine.add(config, name)
    delete_all(machine, config, CONTAINERS, before)
    # Another one takes its place.
    with (
        Engine(own_engine.home) as later,
        later.expect("served shibafu-bridge ADD", "served shibafu-bridge DEL"),
    ):
        machine.add(config)
        machine.delete(config)


def exchange(one: Path, other: Path) -> None:
    """Exchange what is at two paths, so that there is always something at each."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def build_again(built: Path, home: Path, place: Path) -> Path:
    """Return another build of the executables, at home in a place where it is not yet."""
    copy_executables(built, home)
    (home / "_internal/build-id").write_text("0123456789abcdef\n")
    copy = home.with_name("copy")
    copy_executables(home, copy, at=place)
    return copy


def test_an_upgrade_in_place(
    own_engine: Engine, built: Path, machine: Machine, config: Config, tmp_path: Path
) -> None:
    """The folder is replaced while calls run, and others start."""
    home = own_engine.home
    other = build_again(built, tmp_path / "other", home)
    before = prepare(machine, config, FEWER)
    calls = start_half(machine, config, FEWER, 0)
    wait_for(lambda: tally(own_engine.read_status())["served shibafu-bridge ADD"] > 2)
    exchange(home, other)
    calls |= start_half(machine, config, FEWER, 1)
    answers = {name: call.finish() for name, call in calls.items()}
    assert not [answer for answer in answers.values() if answer.status]
    assert_attached(machine, answers)
    # It ends by itself, and takes away what it listened on.
    own_engine.process.wait(10)
    assert not Path(own_engine.place.calls).exists()
    # Calls go cold until the new one runs.
    delete_all(machine, config, FEWER, before)
    with Engine(home) as later:
        assert later.read_status()["build"] == "0123456789abcdef"
        with later.expect("served shibafu-bridge ADD", "served shibafu-bridge DEL"):
            machine.add(config)
            machine.delete(config)


def test_an_engine_that_is_told_to_end(own_engine: Engine, machine: Machine, config: Config) -> None:
    """Calls that are running are finished; those that follow go cold."""
    before = prepare(machine, config, FEWER)
    calls = start_half(machine, config, FEWER, 0)
    wait_for(lambda: tally(own_engine.read_status())["served shibafu-bridge ADD"] > 2)
    own_engine.process.terminate()
    calls |= start_half(machine, config, FEWER, 1)
    answers = {name: call.finish() for name, call in calls.items()}
    assert not [answer for answer in answers.values() if answer.status]
    assert_attached(machine, answers)
    assert own_engine.process.wait(10) == 0
    delete_all(machine, config, FEWER, before)
