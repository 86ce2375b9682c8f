"""`shibafu exec` and `restart`, whatever a container has put where its passwd and group were."""

import re

import pytest

from e2e.command import DATA_DIR, Command
from e2e.containers import begin, wait_for
from e2e.machine import Machine


def find_waiting(machine: Machine) -> str:
    """Return the numbers of the processes of runc that have not become a container's program."""
    return machine.try_run("pgrep", "-f", "runc init$").stdout


@pytest.mark.parametrize("file", ["passwd", pytest.param("group", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "attack",
    [
        pytest.param("mkfifo /etc/{}", marks=pytest.mark.long),
        "mkfifo /run/x; ln -s ../../../run/x /etc/{}",
        "ln -s /dev/zero /etc/{}",
    ],
)
def test_exec_and_restart_do_not_wait_for_a_fifo(run: Command, file: str, attack: str) -> None:
    run("run -d --network none --name web1 alpine sleep 600")
    run(f"exec web1 sh -c 'mkdir -p /run; rm /etc/{file}; {attack.format(file)}'")
    said = run.fail("exec web1 true", status=255)
    assert f"/etc/{file} of container web1 is not a regular file" in said
    (view,) = run.json("ps")
    assert view["since"] > 1_000_000_000
    assert f"/etc/{file} of container web1 is not a regular file" in run.fail("restart --time 0 web1")
    assert [view["state"] for view in run.json("ps --all")] == ["exited"]
    run("rm web1")


def test_exec_looks_at_files_of_the_container_alone(machine: Machine, run: Command) -> None:
    machine.run("mkfifo", "/run/outside")
    run("run -d --network none --name web1 alpine sleep 600")
    run("exec web1 sh -c 'rm /etc/passwd /etc/group; ln -s /run/outside /etc/passwd; ln -s group /etc/group'")
    assert run("exec web1 echo fine") == "fine\n"


@pytest.fixture
def trap(machine: Machine, run: Command) -> str:
    """A container that makes the FIFO when exec has looked; a line of the shell that has it do so."""
    run("run -d --network none --name web1 alpine sleep 600")
    passwd = f"{DATA_DIR}/containers/web1/rootfs/etc/passwd"
    real = machine.run("sh", "-c", "command -v runc").strip()
    script = f'#!/bin/sh\nrm -f {passwd}; mkfifo {passwd}; exec {real} "$@"\n'
    machine.write("/run/trap/runc", script)
    machine.run("chmod", "755", "/run/trap/runc")
    return "PATH=/run/trap:$PATH"


def test_a_signal_ends_an_exec_that_has_not_begun(machine: Machine, run: Command, trap: str) -> None:
    process, number = begin(machine, run, "exec --interactive web1 true", trap)
    wait_for(lambda: find_waiting(machine))
    machine.run("kill", "-TERM", number)
    said, _ = process.communicate(timeout=30)
    assert "SIGTERM arrived before the program started" in said
    assert process.returncode == 255
    assert find_waiting(machine) == ""
    assert [view["state"] for view in run.json("ps")] == ["running"]


@pytest.mark.long
def test_an_exec_that_does_not_begin_is_ended(machine: Machine, run: Command, trap: str) -> None:
    process, _ = begin(machine, run, "exec web1 true", trap)
    said, _ = process.communicate(timeout=60)
    assert "the program did not start in container web1 within 10 s" in said
    assert process.returncode == 255
    assert find_waiting(machine) == ""


def test_signals_reach_a_program_of_exec(machine: Machine, run: Command) -> None:
    run("run -d --network none --name web1 alpine sleep 600")
    program = 'trap "echo caught; exit 7" USR1; touch /tmp/ready; while :; do sleep 0.1; done'
    process, number = begin(machine, run, f"exec web1 sh -c '{program}'")
    ready = f"{DATA_DIR}/containers/web1/rootfs/tmp/ready"
    wait_for(lambda: machine.try_run("ls", ready).stdout)
    assert machine.run("sh", "-c", f"ls {DATA_DIR}/containers/web1/exec-*")
    machine.run("kill", "-USR1", number)
    said, _ = process.communicate(timeout=20)
    assert (said, process.returncode) == ("caught\n", 7)
    assert machine.try_run("sh", "-c", f"ls {DATA_DIR}/containers/web1/exec-*").stdout == ""


@pytest.mark.parametrize("volume", ["/run/etc/passwd:/etc/passwd", "/run/etc:/etc"])
def test_a_volume_is_looked_at_too(machine: Machine, run: Command, volume: str) -> None:
    machine.run("sh", "-c", "mkdir /run/etc && mkfifo /run/etc/passwd")
    said = run.fail(f"run --rm --network none --name web1 -v {volume} alpine true", status=125)
    assert "/etc/passwd of container web1 is not a regular file" in said


def test_a_container_that_waits_is_young_and_can_be_removed(
    machine: Machine, run: Command, trap: str
) -> None:
    """As one whose volume others write to meanwhile."""
    run("rm --force web1")
    process, _ = begin(machine, run, "run -d --network none --name web1 alpine true", trap)
    wait_for(lambda: find_waiting(machine))
    (view,) = run.json("ps")
    assert re.fullmatch(r"up \d+ s", view["status"])
    run("rm --force web1")
    process.communicate(timeout=20)
    assert process.returncode == 125
    assert run.json("ps --all") == []
