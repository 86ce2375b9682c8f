"""shibafu-hook in real namespaces, fed as crun feeds it, and what it imports."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

import shibafu
from support.imports import FORBIDDEN, INTERPRETER, OS_MODULES
from support.machine import Machine
from support.namespaces import Namespace
from support.spoiling import KINDS, spoil_result

_PROGRAM = """
import sys
sys.path.insert(0, {plugins!r})
from shibafu.hook.__main__ import run
status = run(sys.argv[2:], {{}}, sys.stdin.buffer, sys.stderr)
modules = " ".join(sys.modules)
with open(sys.argv[1], "w") as file:
    file.write(modules)
sys.exit(status)
"""
_SOURCE = _PROGRAM.format(plugins=str(Path(shibafu.__path__[0]).parent))

_BARE = [*INTERPRETER, "-c", "import sys; print(*sys.modules)"]
INTERPRETER_MODULES = set(subprocess.run(_BARE, capture_output=True, text=True, check=True).stdout.split())
# What a call may import besides, all of it cheap: see tests/unit/test_import_budget.py.
LIBRARY = {
    *OS_MODULES,
    *(
        "_blake2",
        "_ctypes",
        "_json",
        "_signal",
        "_socket",
        "_struct",
        "binascii",
        "errno",
        "fcntl",
        "select",
        "struct",
    ),
}


class Crun:
    """A container that is a process in a network namespace, and crun's states of it.

    Args:
        machine: its host.
        directory: for bundle and networks.
    """

    def __init__(self, machine: Machine, directory: Path) -> None:
        self.machine = machine
        self.bundle = directory / "bundle"
        self.report = directory / "modules"
        self.cache_dir = directory / "results"
        self.conf_dir = directory / "conf"
        for path in (self.bundle, self.conf_dir):
            path.mkdir()
        self.netns = machine.container("web1")
        self.process = self._start(self.netns)

    def _start(self, netns: Namespace) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(["nsenter", f"--net={netns.path}", "cat"], stdin=subprocess.PIPE)
        inode = os.stat(netns.path).st_ino
        while os.stat(f"/proc/{process.pid}/ns/net").st_ino != inode:
            pass  # nsenter is about to enter
        return process

    def close(self) -> None:
        """End the process."""
        if self.process.poll() is None:
            self.process.communicate(timeout=10)

    def write_network(self, name: str, subnet: str, *chained: dict[str, object]) -> None:
        """Configure a network."""
        plugin = self.machine.config(subnet, bridge=f"{name}0", name=None, cniVersion=None)
        document = {"cniVersion": "1.1.0", "name": name, "plugins": [plugin, *chained]}
        (self.conf_dir / f"{name}.conflist").write_text(json.dumps(document))

    def write_bundle(self, **annotations: str) -> None:
        """Write the bundle."""
        prefixed = {f"org.shibafu.{key}": value for key, value in annotations.items()}
        (self.bundle / "config.json").write_text(json.dumps({"annotations": prefixed}))

    def call(self, status: str, pid: int) -> "subprocess.CompletedProcess[str]":
        """Run the hook with an empty environment."""
        process = self.start(status, pid, output=subprocess.PIPE)
        stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def start(self, status: str, pid: int, output: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        """Start the hook."""
        state = {
            "ociVersion": "1.0",
            "id": "web1",
            "pid": pid,
            "root": f"{self.bundle}/rootfs",
            "bundle": str(self.bundle),
            "status": status,
        }
        flags = [
            f"--cache-dir={self.cache_dir}",
            f"--conf-dir={self.conf_dir}",
            f"--cni-path={self.bundle}:{self.machine.cni_path}:/usr/lib/cni",
        ]
        enter = ["nsenter", f"--net={self.machine.host.path}"]
        process = subprocess.Popen(
            [*enter, *INTERPRETER, "-c", _SOURCE, self.report, *flags],
            env={},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            text=True,
        )
        assert process.stdin
        process.stdin.write(json.dumps(state))
        process.stdin.close()
        process.stdin = None
        return process

    def create(self) -> "subprocess.CompletedProcess[str]":
        """Run createRuntime."""
        return self.call("created", self.process.pid)

    def poststop(self) -> "subprocess.CompletedProcess[str]":
        """Run poststop."""
        self.close()
        return self.call("stopped", 0)

    def modules(self) -> set[str]:
        """Return what the last call imported."""
        return set(self.report.read_text().split())


@pytest.fixture
def crun(machine: Machine, tmp_path: Path) -> Iterator[Crun]:
    made = Crun(machine, tmp_path)
    made.write_network("blue", "10.10.0.0/24")
    made.write_network("green", "10.11.0.0/24")
    yield made
    made.close()


def is_clean(machine: Machine) -> bool:
    return (machine.leases(), machine.remembered(), machine.rules()) == (set(), set(), [])


def test_from_creation_to_poststop(machine: Machine, crun: Crun) -> None:
    crun.netns.run("ip", "link", "set", "lo", "down")
    crun.write_bundle(network="blue,green")
    done = crun.create()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.addresses("eth0", crun.netns) == {"10.10.0.2/24"}
    assert machine.addresses("eth1", crun.netns) == {"10.11.0.2/24"}
    assert "UP" in machine.links(crun.netns)["lo"]["flags"]
    check_imports(crun)

    # The bundle is needed no more, nor are the networks' files.
    (crun.bundle / "config.json").unlink()
    for file in crun.conf_dir.iterdir():
        file.unlink()
    for _ in range(2):
        done = crun.poststop()
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert is_clean(machine)
        check_imports(crun)
    assert list(crun.cache_dir.iterdir()) == []


def check_imports(crun: Crun) -> None:
    """Hooks are waited for like plugins: of the standard library only what these may import."""
    modules = {name for name in crun.modules() if not name.startswith("shibafu")}
    assert not {name for name in modules if name.split(".")[0] in FORBIDDEN}
    assert modules - INTERPRETER_MODULES <= LIBRARY


def test_a_failure_leaves_nothing_without_poststop(machine: Machine, crun: Crun) -> None:
    """As crun runs no poststop hook of a container that it could not create."""
    crun.write_network("bad", "10.12.0.0/24", {"type": "tuning", "sysctl": {"kernel.hostname": "x"}})
    crun.write_bundle(network="blue,bad")
    done = crun.create()
    assert (done.returncode, done.stdout) == (1, "")
    begin = 'shibafu-hook: cannot attach web1 to network "bad": plugin type="tuning" failed (add): '
    assert done.stderr.startswith(begin)
    assert done.stderr.count("\n") == 1
    assert is_clean(machine)
    assert set(machine.links(crun.netns)) == {"lo"}


def test_an_earlier_life_is_cleared_away(machine: Machine, crun: Crun) -> None:
    crun.write_bundle(network="blue,green")
    assert crun.create().returncode == 0
    # Lost without poststop, and its cache with it; the next container of the name is on one network only.
    (crun.cache_dir / "blue-web1-eth0").unlink()
    crun.close()
    crun.netns.delete()
    machine._containers.pop("web1")
    crun.netns = machine.container("web1")
    crun.process = crun._start(crun.netns)
    crun.write_bundle(network="blue")
    done = crun.create()
    assert done.stderr == ""
    assert len(machine.leases()) == 1
    assert crun.poststop().returncode == 0
    assert is_clean(machine)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", ["createRuntime", "poststop"])
def test_a_cache_that_makes_no_sense_is_in_nobodys_way(
    machine: Machine, crun: Crun, tmp_path: Path, kind: str, verb: str
) -> None:
    crun.write_bundle(network="blue")
    assert crun.create().returncode == 0
    (tmp_path / "file").write_text("untouched")
    (path,) = crun.cache_dir.iterdir()
    spoil_result(path, kind, tmp_path / "file")
    if verb == "createRuntime":
        done = crun.create()
        assert (done.returncode, done.stderr) == (0, "")
        assert machine.addresses("eth0", crun.netns) == {"10.10.0.3/24"}
    done = crun.poststop()
    assert (done.returncode, done.stderr) == (0, "")
    assert is_clean(machine)
    assert list(crun.cache_dir.iterdir()) == []
    assert (tmp_path / "file").read_text() == "untouched"


def test_attachments_of_others_are_left_alone(machine: Machine, crun: Crun) -> None:
    """Podman's containers have networks before runc is called, under the same ID."""
    crun.cache_dir.mkdir()
    document = {
        "kind": "cniCacheV1",
        "containerId": "web1",
        "ifName": "eth7",
        "networkName": "green",
        "netns": "/run/netns/podman",
    }
    other = crun.cache_dir / "green-web1-eth7"
    other.write_text(json.dumps(document))
    crun.write_bundle(network="blue")
    assert crun.create().returncode == 0
    assert crun.poststop().returncode == 0
    assert other.exists()
    assert is_clean(machine)


def test_no_network_is_loopback_only(machine: Machine, crun: Crun) -> None:
    crun.netns.run("ip", "link", "set", "lo", "down")
    crun.write_bundle(network="none")
    assert crun.create().stderr == ""
    assert machine.addresses("lo", crun.netns) == {"127.0.0.1/8", "::1/128"}
    assert crun.poststop().stderr == ""


@pytest.mark.parametrize("milliseconds", range(40, 240, 40))
def test_poststop_clears_up_after_a_killed_hook(machine: Machine, crun: Crun, milliseconds: int) -> None:
    """OCI runtimes kill hooks that take too long; a plugin may be at work by then, and goes on."""
    crun.write_bundle(network="blue,green")
    process = crun.start("created", crun.process.pid)
    sleep(milliseconds / 1000)
    process.kill()
    process.wait()
    done = crun.poststop()
    assert (done.returncode, done.stderr) == (0, "")
    assert is_clean(machine)
    assert not crun.cache_dir.exists() or list(crun.cache_dir.iterdir()) == []


def test_poststop_waits_for_the_plugin_of_a_killed_hook(machine: Machine, crun: Crun) -> None:
    """Its ADD would otherwise come after the DEL, and nobody would ever undo it."""
    script = f"""#!/bin/sh
if [ "$CNI_COMMAND" = ADD ]; then touch {crun.bundle}/started; sleep 1; fi
exec {machine.cni_path}/bridge
"""
    (crun.bundle / "bridge").write_text(script)
    (crun.bundle / "bridge").chmod(0o755)
    crun.write_bundle(network="blue")
    process = crun.start("created", crun.process.pid)
    while not (crun.bundle / "started").exists():
        assert process.poll() is None
        sleep(0.01)
    process.kill()
    process.wait()
    assert crun.poststop().returncode == 0
    sleep(1)
    assert is_clean(machine)


def test_the_host_s_namespace_is_refused(machine: Machine, crun: Crun) -> None:
    crun.write_bundle(network="blue")
    host = crun._start(machine.host)
    done = crun.call("created", host.pid)
    host.communicate(timeout=10)
    assert done.stderr.startswith("shibafu-hook: web1 has no network namespace of its own (add ")
    assert is_clean(machine)


def test_a_process_that_is_gone_records_suffice(machine: Machine, crun: Crun) -> None:
    crun.write_bundle(network="blue")
    gone = subprocess.Popen(["true"])
    gone.wait()
    done = crun.call("created", gone.pid)
    assert "cannot open the network namespace of web1" in done.stderr
    assert is_clean(machine)
