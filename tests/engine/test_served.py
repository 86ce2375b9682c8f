"""What a call through the engine has of its caller: all that a plugin's own process would have of it."""

import os
import pty
import signal
import socket
import subprocess
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path

import pytest

from support.children import attach_and_detach
from support.engine import Engine, list_children
from support.ipam_calls import CALL, Ipam, in_shell
from support.machine import Config, Machine
from support.suite import Suite
from support.waiting import wait_for

pytestmark = pytest.mark.root

# A delegate that tells what it sees of its own process. Not which signals are ignored: those are the
# engine's, and differ where the tests are run by nohup(1).
DELEGATE = """
[ "$CNI_COMMAND" = ADD ] || exit 0
{
    pwd -P && umask && ulimit -a
    grep -E '^(Uid|Gid|Groups|NoNewPrivs|Cap|Sig[BC]|Shd)' /proc/self/status
    for name in net mnt pid user ipc uts cgroup; do readlink /proc/self/ns/$name; done
    ls /proc/$$/fd
    tr '\\0' '\\n' </proc/$$/environ
    cat
} >"$DUMP" 2>&1
echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.10.0.2/24"}]}'
"""
# What a caller may be like. `ulimit -S -s` is not among it: a process that runs keeps its stack.
LIKE = "umask 027 && ulimit -n 333 && ulimit -c 0 && ulimit -p 4000 && ulimit -f 100000"
VARIABLES = {"ÜNICODE": "名", "EMPTY": "", "SPACE": " a\nb ", "LC_CTYPE": "C", "LONG": "x" * 100_000}


@pytest.fixture
def cold(own_home: Path, tmp_path: Path) -> Suite:
    """The same executables, for which no engine runs."""
    directory = tmp_path / "cold"
    directory.mkdir()
    return Suite.of_executables(directory, own_home)


def layer3(machine: Machine, delegate: str) -> Config:
    """Return a network whose addresses come from another plugin."""
    return machine.config(ipMasq=None, isDefaultGateway=None, ipam={"type": delegate})


def test_a_delegate_sees_what_it_would_without_the_engine(
    engine: Engine, machine: Machine, cold: Suite, tmp_path: Path
) -> None:
    plugins = machine.make_plugin(DELEGATE, "tell")
    machine.prefix = [*in_shell(f'cd "{tmp_path}" && {LIKE} &&')]
    seen = []
    for suite in (cold, machine.suite):
        machine.suite = suite
        dump = tmp_path / "dump"
        machine.add(layer3(machine, "tell"), CNI_PATH=plugins, DUMP=str(dump), **VARIABLES)
        machine.delete(layer3(machine, "tell"), CNI_PATH=plugins, DUMP=str(dump), **VARIABLES)
        seen.append(dump.read_text().splitlines())
    assert len(seen[0]) > 40
    assert seen[1] == seen[0]


@pytest.mark.parametrize(
    "extra", [{}, {"LC_CTYPE": "C"}, {"LONG": "x" * 100_000}], ids=["none", "locale", "long"]
)
def test_environment_of_a_delegate(engine: Engine, tmp_path: Path, extra: dict[str, str]) -> None:
    with engine.expect("served shibafu-bridge ADD", "served shibafu-bridge DEL"):
        for env, seen in attach_and_detach(engine.home / "shibafu-bridge", tmp_path / "tell", **extra):
            assert seen == env | {"SHIBAFU_DELEGATE": "tell"}


def test_odd_variables(engine: Engine, ipam: Ipam) -> None:
    """Bytes that are not UTF-8, no name, no value, a name twice: none keeps a call from being served."""
    odd = [b"\xff=\xfe", b"=value", b"nothing", b"CNI_IFNAME=eth1", b"CNI_IFNAME=eth2"]
    env = [f"{name}={value}".encode() for name, value in CALL.items() if name != "CNI_IFNAME"]
    config = ipam.data_dir.with_name("config")
    config.write_text(dumps(ipam.config))
    script = (
        "import ctypes, os, sys; libc = ctypes.CDLL(None); array = ctypes.c_char_p * 32; "
        "os.dup2(os.open(sys.argv[2], os.O_RDONLY), 0); "
        "libc.execve(sys.argv[1].encode(), array(b'x'), array(*[eval(w) for w in sys.argv[3:]]))"
    )
    with engine.expect("served shibafu-ipam ADD"):
        done = subprocess.run(
            ["/usr/bin/python3", "-c", script, ipam.program, config, *map(repr, env + odd)],
            capture_output=True,
            check=False,
        )
    assert done.returncode == 0, done
    # The first of a name counts, as it does for a process of Python.
    assert (ipam.data_dir / "net" / "10.1.0.2").read_text().split() == ["c1", "eth1"]


# Namespaces and directories


def test_another_network_namespace(engine: Engine, machine: Machine) -> None:
    with engine.expect(*(f"served shibafu-bridge {verb}" for verb in ("ADD", "CHECK", "DEL"))):
        machine.add(machine.config())
        assert machine.addresses("eth0", machine.container()) == {"10.10.0.2/24"}
        assert "br0" in machine.links()
        machine.check(machine.config())
        machine.delete(machine.config())


def test_another_mount_namespace(engine: Engine, machine: Machine, tmp_path: Path) -> None:
    """What the caller alone sees at a path: the store of leases, and the namespace of a container."""
    netns, store = tmp_path / "netns", tmp_path / "store"
    store.mkdir()
    machine.data_dir.mkdir()
    machine.hide(
        f'touch "{netns}"',
        f'mount --bind "{machine.container().path}" "{netns}"',
        f'mount --bind "{store}" "{machine.data_dir}"',
    )
    with engine.expect("served shibafu-bridge ADD", "served shibafu-bridge DEL"):
        machine.add(machine.config(), CNI_NETNS=str(netns))
        assert machine.addresses("eth0", machine.container()) == {"10.10.0.2/24"}
        assert machine.leases() == set()
        assert (store / "net" / "10.10.0.2").exists()
        machine.delete(machine.config(), CNI_NETNS=str(netns))
        assert not (store / "net" / "10.10.0.2").exists()


def test_a_call_needs_none_of_its_files(engine: Engine, machine: Machine) -> None:
    """All is loaded before: where the caller is there may be none, or another build's."""
    machine.hide(f'mount -t tmpfs tmpfs "{engine.home}/_internal"')
    config = machine.config("10.10.0.0/24", "fd00:10::/64", macspoofchk=True, isolate=True)
    verbs = ("ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION")
    failures = ("ADD", "CHECK", "STATUS")
    ends = [
        *(f"served shibafu-bridge {verb}" for verb in verbs),
        *(f"failed shibafu-bridge {v}" for v in failures),
    ]
    with engine.expect(*ends):
        machine.add(config)
        machine.check(config)
        machine.host.run("ip", "link", "set", "br0", "down")
        machine.fail(config, command="CHECK")
        machine.delete(config)
        machine.collect_garbage(config)
        for verb in ("STATUS", "VERSION"):
            assert machine.call(verb, config).status == 0
        for verb in ("ADD", "STATUS"):
            machine.fail(config | {"ipam": {"type": "not-there"}}, command=verb)


def test_a_name_from_the_callers_directory(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to(engine.home)
    ipam = Ipam(Path("here/shibafu-ipam"), tmp_path / "networks")
    with engine.expect("served shibafu-ipam ADD"):
        ipam.add(*in_shell(f'cd "{tmp_path}" &&'))


@pytest.mark.parametrize("mask", ["077", "000", "022"])
def test_umask(engine: Engine, ipam: Ipam, own_home: Path, tmp_path: Path, mask: str) -> None:
    cold = Ipam(own_home / "shibafu-ipam", tmp_path / "cold")
    modes = []
    with engine.expect("served shibafu-ipam ADD"):
        for one in (ipam, cold):
            one.add(*in_shell(f"umask {mask} &&"))
            modes.append({p.name: p.stat().st_mode for p in (one.data_dir, *one.data_dir.rglob("*"))})
    modes[1]["networks"] = modes[1].pop("cold")
    assert modes[0] == modes[1]


# Standard files, arguments and the exit status


@pytest.mark.parametrize("kind", ["file", "socket", "append"])
def test_kinds_of_standard_files(engine: Engine, ipam: Ipam, tmp_path: Path, kind: str) -> None:
    """A file is read from where the caller was, and written from there, too."""
    source, answer = tmp_path / "source", tmp_path / "answer"
    source.write_text("noise: " + dumps(ipam.config))
    answer.write_text("before\n")
    ours, theirs = socket.socketpair()
    with source.open("rb") as file, answer.open("ab" if kind == "append" else "r+b") as output, ours, theirs:
        os.lseek(file.fileno(), len("noise: "), os.SEEK_SET)
        os.lseek(output.fileno(), 0, os.SEEK_END)
        ours.sendall(dumps(ipam.config).encode())
        ours.shutdown(socket.SHUT_WR)
        files = (theirs.fileno(), theirs.fileno()) if kind == "socket" else (file.fileno(), output.fileno())
        with engine.expect("served shibafu-ipam ADD"):
            subprocess.run([ipam.program], env=CALL, stdin=files[0], stdout=files[1], check=True, timeout=60)
        theirs.close()
        text = ours.makefile().read() if kind == "socket" else answer.read_text().removeprefix("before\n")
    assert loads(text)["ips"][0]["address"] == "10.1.0.2/24"


def test_output_that_nobody_reads(engine: Engine, machine: Machine, cold: Suite) -> None:
    """An ADD that nobody hears of is taken back, with and without the engine."""
    plugins = machine.make_plugin("sleep 0.3; exec $REAL")
    before = machine.snapshot()
    said = []
    # The delegate hands its call over, too.
    leases = ["served shibafu-ipam ADD", "served shibafu-ipam DEL"] * 2
    with engine.expect("failed shibafu-bridge ADD", *leases):
        for suite in (machine.suite, cold):
            machine.suite = suite
            call = machine.start("ADD", machine.config(), CNI_PATH=plugins)
            assert call.process.stdout is not None
            call.process.stdout.close()
            call.process.stdout = None
            answer = call.finish()
            said.append((answer.status, answer.stderr))
            after = machine.snapshot()
            assert (after["leases"], after["records"]) == (before["leases"], before["records"])
            assert after["containers"] == before["containers"]
    assert said[0] == said[1] == (1, "cannot print the answer to ADD: broken pipe\n")


def test_errors_are_what_they_are_without_the_engine(engine: Engine, ipam: Ipam, own_home: Path) -> None:
    cold = Ipam(own_home / "shibafu-ipam", ipam.data_dir)
    answers = []
    with engine.expect("failed shibafu-ipam ADD"):
        for one in (ipam, cold):
            process = one.start(env={"CNI_IFNAME": "much too long a name"})
            answers.append((*process.communicate(timeout=60), process.returncode))
    assert answers[0] == answers[1]
    assert (loads(answers[0][0])["code"], answers[0][2]) == (4, 1)


HOOK_CALLS = {
    "help": (["--help"], 0),
    "unknown flag": (["--ip=10.0.0.1", "--nonsense=", "--", "ü"], 1),
    "no flag": ([], 1),
}


@pytest.mark.parametrize("what", HOOK_CALLS)
def test_the_hook_and_its_arguments(engine: Engine, own_home: Path, what: str) -> None:
    arguments, status = HOOK_CALLS[what]
    answers = []
    with engine.expect("failed shibafu-hook" if status else "served shibafu-hook"):
        for home in (engine.home, own_home):
            done = subprocess.run(
                [home / "shibafu-hook", *arguments], env={}, input=b"{}", capture_output=True, check=False
            )
            answers.append((done.returncode, done.stdout, done.stderr))
    assert answers[0] == answers[1]
    assert answers[0][0] == status
    assert answers[0][2]


def test_a_terminal(engine: Engine) -> None:
    """The hook shows at a terminal how it is used, which is exit status 2."""
    ours, theirs = pty.openpty()
    try:
        with engine.expect("failed shibafu-hook"):
            done = subprocess.run(
                [engine.home / "shibafu-hook"], stdin=theirs, stderr=theirs, check=False, timeout=60
            )
        assert done.returncode == 2
        assert os.read(ours, 64).startswith(b"Usage: shibafu-hook")
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_an_engine_whose_own_files_are_closed(own_home: Path, tmp_path: Path, redirection: str) -> None:
    ipam = Ipam(own_home / "shibafu-ipam", tmp_path / "networks")
    with Engine(own_home, redirection=redirection) as engine:
        with engine.expect("served shibafu-ipam ADD", "failed shibafu-hook"):
            ipam.add()
            done = subprocess.run(
                [own_home / "shibafu-hook", "--x="], input=b"", capture_output=True, check=False
            )
        assert done.stderr.startswith(b"shibafu-hook: ")


@pytest.fixture
def elsewhere() -> Iterator[tuple[int, tuple[str, ...]]]:
    """The first process of a process namespace, and how to start others there."""
    command = [
        "/usr/bin/unshare",
        "--pid",
        "--mount",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sleep",
        "600",
    ]
    with subprocess.Popen(command) as holder:
        try:
            wait_for(lambda: len(list_children(holder.pid)) == 1)
            (first,) = list_children(holder.pid)
            wait_for(lambda: "sleep" in Path(f"/proc/{first}/comm").read_text())
            yield first, ("/usr/bin/nsenter", f"--target={first}", "--pid", "--mount")
        finally:
            holder.kill()


def test_an_engine_that_is_started_somewhere_else(
    own_home: Path, tmp_path: Path, elsewhere: tuple[int, tuple[str, ...]]
) -> None:
    """It goes to the first process's namespaces, so that those that it was started in can end."""
    first, enter = elsewhere
    ipam = Ipam(own_home / "shibafu-ipam", tmp_path / "networks")
    ipam.data_dir.mkdir()
    hide = f'cd "{tmp_path}" && mount -t tmpfs tmpfs networks && touch networks/hidden &&'
    with Engine(own_home, prefix=in_shell(hide, *enter, "/usr/bin/unshare", "--net", "--mount")) as engine:
        (pid,) = list_children(engine.pid)
        for process in (pid, *list_children(pid)):
            for name in ("net", "mnt"):
                assert os.readlink(f"/proc/{process}/ns/{name}") == os.readlink(f"/proc/{first}/ns/{name}")
            assert os.readlink(f"/proc/{process}/cwd") == "/"
        with engine.expect("served shibafu-ipam ADD", "cold: the caller is in another process namespace"):
            ipam.add(*enter)
            ipam.run(env={"CNI_COMMAND": "VERSION"})
        os.kill(first, signal.SIGKILL)
