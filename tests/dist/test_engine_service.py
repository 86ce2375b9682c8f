"""The engine's service, and engines while versions come and go: where systemd runs, and where not."""

import configparser
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from json import loads
from pathlib import Path

import pytest

from dist.executables import ask_version
from dist.target import Target
from support.built import ROOT
from support.engine import copy_executables
from support.engine_command import EngineCommand, is_alive, list_files
from support.ipam_calls import Ipam
from support.machine import Machine
from support.namespaces import Namespace
from support.suite import Suite
from support.waiting import wait_for

pytestmark = pytest.mark.root

SERVICE = "shibafu-engine.service"
# A machine on which systemd seems to run.
BOOTED = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system"
SYSTEMCTL = """#!/bin/sh
echo "$*" >>"{log}"
case " {failing} " in *" $1 "*) exit 1 ;; esac
"""
CALLERS = 32
# Seconds; the upgrade needs some of the machine, too.
_PAUSE = 0.2


@pytest.fixture
def target(tmp_path: Path, built: Path) -> Iterator[Target]:
    made = Target(tmp_path / "root", built)
    yield made
    if made.prefix.exists():
        made.uninstall()


@pytest.fixture
def other(tmp_path: Path, built: Path) -> Path:
    """Executables of another version, and of another build."""
    directory = shutil.copytree(built, tmp_path / "other", symlinks=True)
    (directory / "_internal/build-id").write_text("0123456789abcdef\n")
    return directory


class Systemd:
    """A systemctl that does nothing but to note what it is told.

    Args:
        directory: where it is.
    """

    def __init__(self, directory: Path) -> None:
        self.log = directory / "log"
        self.directory = directory
        directory.mkdir()
        self.fail()

    def fail(self, *verbs: str) -> None:
        """Have it fail at these."""
        program = self.directory / "systemctl"
        program.write_text(SYSTEMCTL.format(log=self.log, failing=" ".join(verbs)))
        program.chmod(0o755)

    def run(self, *command: str | Path, destdir: str | Path = "") -> tuple[str, list[str]]:
        """Run a script of packaging/; return what it says, and what it has told systemd."""
        self.log.write_text("")
        path = f"{self.directory}:{os.environ['PATH']}"
        done = subprocess.run(
            ["/usr/bin/unshare", "--mount", "/bin/sh", "-ec", f'{BOOTED} && exec "$0" "$@"', *command],
            cwd=ROOT / "packaging",
            env={**os.environ, "PATH": path, "DESTDIR": str(destdir)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr, self.log.read_text().splitlines()


@pytest.fixture
def systemd(tmp_path: Path) -> Systemd:
    return Systemd(tmp_path / "bin")


def read_unit(path: Path) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as the documentation has it
    unit.read_string(path.read_text())
    return unit


def test_the_unit_is_sound(target: Target) -> None:
    target.install()  # what its command line names
    target.install_unit()
    unit = read_unit(target.unit)
    assert unit["Service"]["ExecStart"] == f"{target.prefix}/current/shibafu engine run"
    assert unit["Service"]["KillMode"] == "process"
    if shutil.which("systemd-analyze"):
        verify = ["systemd-analyze", "verify", "--man=no", str(target.unit)]
        done = subprocess.run(verify, capture_output=True, text=True, check=False, timeout=300)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_words_that_systemd_expands(tmp_path: Path) -> None:
    script = f'. packaging/install/service.sh && write_unit packaging/install/{SERVICE} "$0"'
    write = ["/bin/sh", "-ec", script, "/opt/100%&$HOME|\\x"]
    unit = subprocess.run(write, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300).stdout
    assert "\nExecStart=/opt/100%%&$$HOME|\\x/current/shibafu engine run\n" in unit
    # What it says is also read, to tell whose it is.
    prefix = tmp_path / "100%&$HOME"
    (prefix / "current").mkdir(parents=True)
    (prefix / "current/shibafu").symlink_to("/bin/true")
    script = (
        f'. packaging/install/service.sh && write_unit packaging/install/{SERVICE} "$0" >"$1" && '
        'is_unit_of_another "$1" /opt'
    )
    subprocess.run(["/bin/sh", "-ec", script, prefix, tmp_path / "unit"], cwd=ROOT, check=True, timeout=300)


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
def test_what_systemd_is_told(built: Path, tmp_path: Path, is_abstract: bool) -> None:
    address = f"@shibafu-{tmp_path.name}" if is_abstract else str(tmp_path / "notify")
    with (
        EngineCommand(copy_executables(built, tmp_path / "shibafu")) as command,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(address.replace("@", "\0"))
        manager.settimeout(30)
        engine = command.start("run", NOTIFY_SOCKET=address, INVOCATION_ID="0" * 32)
        assert manager.recv(100) == b"READY=1"
        assert command.read_status()["supervisor"] == "systemd"
        assert [manager.recv(100) for _ in range(2)] == [b"WATCHDOG=1"] * 2
        said = command.run("stop", status=1)
        assert said == f"shibafu: systemd keeps the engine running\n         systemctl stop {SERVICE}\n"
        assert is_alive(engine.pid)
        engine.send_signal(signal.SIGTERM)
        while (told := manager.recv(100)) == b"WATCHDOG=1":
            pass
        assert told == b"STOPPING=1"
        assert engine.communicate(timeout=60) == ("", "")
        assert engine.returncode == 0


def test_other_service_managers_speak_its_protocol(built: Path, tmp_path: Path) -> None:
    """systemctl would not stop what they have started."""
    with EngineCommand(copy_executables(built, tmp_path / "shibafu")) as command:
        engine = command.start("run", NOTIFY_SOCKET=str(tmp_path / "notify"))
        wait_for(lambda: command.read_status(status=None)["running"])
        assert command.read_status()["supervisor"] == ""
        command.run("stop")
        assert engine.wait(timeout=60) == 0


@pytest.mark.long
def test_a_service_ends_without_its_calls(built: Path, tmp_path: Path) -> None:
    """So that an upgrade's engine is there at once, although a call may take a minute."""
    home = copy_executables(built, tmp_path / "shibafu")
    address, store = str(tmp_path / "notify"), tmp_path / "networks"
    with EngineCommand(home) as command, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        environment = {"NOTIFY_SOCKET": address, "INVOCATION_ID": "0" * 32}
        engine = command.start("run", **environment)
        assert manager.recv(100) == b"READY=1"
        ipam = Ipam(home / "shibafu-ipam", store)
        ipam.run(env={"CNI_CONTAINERID": "c0"})
        with open(store / "net/lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            waiting = ipam.start()
            wait_for(lambda: command.read_status()["busy"] == 1)
            engine.send_signal(signal.SIGTERM)
            assert engine.wait(timeout=10) == 0
            engine = command.start("run", **environment)
            wait_for(lambda: command.read_status(status=None)["running"])
            ipam_of_another = Ipam(home / "shibafu-ipam", tmp_path / "others")
            ipam_of_another.run()
            assert [call["outcome"] for call in command.read_status()["calls"]] == ["served"]
        stdout, stderr = waiting.communicate(timeout=60)
        assert (waiting.returncode, stderr) == (0, b"")
        assert loads(stdout)["ips"][0]["address"] == "10.1.0.3/24"
        engine.send_signal(signal.SIGTERM)
        assert engine.wait(timeout=10) == 0


def test_install_upgrade_uninstall(target: Target, other: Path, systemd: Systemd) -> None:
    options = target.list_options()
    _, told = systemd.run("./install.sh", "--from", target.built, *options)
    assert told == ["daemon-reload", f"enable --now {SERVICE}"]
    assert target.unit.stat().st_mode & 0o777 == 0o644
    # Whether it runs is the administrator's from now on.
    _, told = systemd.run("./install.sh", "--from", other, *options)
    assert told == ["daemon-reload", f"try-restart {SERVICE}"]
    _, told = systemd.run("./uninstall.sh", "--prefix", target.prefix)
    assert told == [f"disable --now {SERVICE}", "daemon-reload"]
    assert target.list_files() == {}


def test_no_engine(target: Target, systemd: Systemd) -> None:
    install = ["./install.sh", "--from", target.built, *target.list_options()]
    _, told = systemd.run(*install, "--no-engine")
    assert (told, target.unit.exists()) == ([], False)
    systemd.run(*install, "--engine")
    _, told = systemd.run(*install, "--no-engine")
    assert (told, target.unit.exists()) == ([f"disable --now {SERVICE}", "daemon-reload"], False)
    # An upgrade does as the installation before it.
    _, told = systemd.run(*install)
    assert (told, target.unit.exists()) == ([], False)
    _, told = systemd.run("./uninstall.sh", "--prefix", target.prefix)
    assert told == []
    assert target.list_files() == {}


@pytest.mark.long
def test_an_engine_that_was_left_out_comes_back(target: Target, systemd: Systemd) -> None:
    install = ["./install.sh", "--from", target.built, *target.list_options()]
    systemd.run(*install, "--no-engine")
    _, told = systemd.run(*install, "--engine")
    assert told == ["daemon-reload", f"enable --now {SERVICE}"]
    _, told = systemd.run(*install)
    assert told == ["daemon-reload", f"try-restart {SERVICE}"]


@pytest.mark.long
def test_the_service_of_another_installation_is_left_to_it(
    target: Target, systemd: Systemd, tmp_path: Path
) -> None:
    install = ["./install.sh", "--from", target.built, *target.list_options()]
    systemd.run(*install)
    unit = target.unit.read_text()
    elsewhere = [*install, "--prefix", tmp_path / "elsewhere"]
    said, told = systemd.run(*elsewhere)
    assert f"{SERVICE} keeps another installation's engine running" in said
    assert (told, target.unit.read_text()) == ([], unit)
    # Of one that is gone nothing is left to keep.
    shutil.rmtree(target.prefix)
    _, told = systemd.run(*elsewhere)
    assert told == ["daemon-reload", f"enable --now {SERVICE}"]
    assert f"{tmp_path}/elsewhere/current" in target.unit.read_text()


def test_executables_that_are_scripts_have_no_service(target: Target, other: Path, systemd: Systemd) -> None:
    (other / "_internal/launcher").unlink()
    _, told = systemd.run("./install.sh", "--from", other, *target.list_options())
    assert (told, target.unit.exists()) == ([], False)
    ask_version(target.bindir / "shibafu-bridge")


@pytest.mark.long
def test_other_root_is_not_this_machine(tmp_path: Path, built: Path, systemd: Systemd) -> None:
    stage = tmp_path / "stage"
    for script in (["./install.sh", "--from", built], ["./uninstall.sh"]):
        _, told = systemd.run(*script, destdir=stage)
        assert told == []


@pytest.mark.long
def test_the_service_of_another_installation_stays(target: Target, systemd: Systemd) -> None:
    target.install()
    install = ["./install.sh", "--from", target.built, *target.list_options()]
    systemd.run(*install, "--prefix", target.root / "second")
    _, told = systemd.run(*install, "--no-engine")
    assert (told, target.unit.exists()) == ([], True)
    _, told = systemd.run("./uninstall.sh", "--prefix", target.root / "second")
    assert told == [f"disable --now {SERVICE}", "daemon-reload"]


def test_a_service_that_does_not_start(target: Target, systemd: Systemd) -> None:
    """The plugins work without."""
    systemd.fail("enable")
    said, _ = systemd.run("./install.sh", "--from", target.built, *target.list_options())
    assert f"systemctl status {SERVICE}" in said
    assert "installed shibafu" in said


@pytest.mark.long
def test_an_engine_started_by_hand_gives_way_to_the_service(
    target: Target, tmp_path: Path, systemd: Systemd
) -> None:
    target.install()
    install = [ROOT / "packaging/install.sh", "--from", target.built, *target.list_options(), "--engine"]
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\n"$1/current/shibafu" engine start && shift && "$@"\n')
    script.chmod(0o755)
    said, told = systemd.run(script, target.prefix, *install)
    pid = int(re.findall(r"started the engine: process (\d+)", said)[0])
    assert told[-1] == f"enable --now {SERVICE}"
    assert not is_alive(pid)


def test_upgrade_while_calls_run(target: Target, other: Path, tmp_path: Path) -> None:
    """No call fails, whether it was made with the old engine, with the new one, or with none."""
    target.install("--as-reference")
    first_home = (target.prefix / "current").resolve()
    first = EngineCommand(first_home)
    first_pid = int(first.run("start").split()[-1])
    with Namespace("host") as host, ThreadPoolExecutor(CALLERS) as callers:
        store = tmp_path / "store"
        store.mkdir()
        machine = Machine(Suite(target.bindir, [], is_built=True), host, store)
        config = machine.config(ipMasq=False)
        names = [f"c{number}" for number in range(CALLERS)]
        for name in names:
            machine.container(name)
        end = threading.Event()

        def call(name: str) -> int:
            rounds = 0
            while not end.is_set():
                machine.add(config, name)
                machine.delete(config, name)
                rounds += 1
                end.wait(_PAUSE)
            return rounds

        calling = [callers.submit(call, name) for name in names]
        try:
            while not first.read_status()["calls"]:
                pass
            target.install("--as-reference", source=other)
        finally:
            end.set()
        assert all(one.result(60) for one in calling)
        machine.add(config, "c0")
        machine.delete(config, "c0")
        machine.close()
    second_home = (target.prefix / "current").resolve()
    second = EngineCommand(second_home)
    assert second.read_status()["build"] == "0123456789abcdef"
    assert {call["outcome"] for call in second.read_status()["calls"]} == {"served"}
    assert first.read_status(status=3)["running"] is False
    assert not is_alive(first_pid)

    second_pid = second.read_status()["pid"]
    target.uninstall()
    assert not is_alive(second_pid)
    assert list_files(first_home) + list_files(second_home) == []
    assert target.list_files() == {}
    running = [process for process in Path("/proc").glob("[0-9]*") if is_of(process, target.root)]
    assert running == []


def is_of(process: Path, directory: Path) -> bool:
    """Return whether a process runs a program of a directory."""
    try:
        return (process / "exe").readlink().is_relative_to(directory)
    except OSError:
        return False


@pytest.mark.long
def test_no_engine_no_new_one(target: Target, other: Path) -> None:
    """An upgrade starts none where none was running, also where one was killed."""
    target.install()
    home = (target.prefix / "current").resolve()
    pid = int(EngineCommand(home).run("start").split()[-1])
    os.kill(pid, signal.SIGKILL)
    target.install(source=other)
    assert EngineCommand((target.prefix / "current").resolve()).read_status(status=3)["running"] is False
    # The folder of the first one goes with the next upgrade, and so does what it has left.
    third = shutil.copytree(other, other.with_name("third"), symlinks=True)
    (third / "_internal/NEWS").write_text("newer still")
    target.install(source=third)
    assert list_files(home) == []
