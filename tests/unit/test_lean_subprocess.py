"""Running other programs."""

import os
import signal
import subprocess
import sys
import time
from errno import ENOSYS
from pathlib import Path

import pytest

import shibafu
from shibafu.lean.subprocess import Child, find_program

SHELL = "/bin/sh"


def run(script: str, stdin: bytes = b"", keep_stderr: bool = True, **env: str) -> tuple[int, bytes, bytes]:
    environment = {"PATH": "/usr/bin:/bin"} | env
    return Child(SHELL, [SHELL, "-c", script], environment, stdin, keep_stderr).wait()


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_input_output_and_status() -> None:
    assert run("cat; echo complaint >&2; exit 3", b"hello") == (3, b"hello", b"complaint\n")


@pytest.mark.parametrize("size", [0, 1, 65536, 5_000_000])
def test_output_of_any_size_blocks_nobody(size: int) -> None:
    # A child that writes much before it reads anything is a deadlock with pipes.
    status, stdout, stderr = run("head -c 300000 /dev/zero >&2; cat", b"x" * size)
    assert (status, len(stdout), len(stderr)) == (0, size, 300000)


def test_a_child_that_does_not_read_its_input_is_no_error() -> None:
    assert run("exit 0", b"x" * 1_000_000) == (0, b"", b"")


def test_the_signal_that_ended_it_records_suffice() -> None:
    assert run("kill -9 $$")[0] == -signal.SIGKILL


def test_the_environment_is_the_one_given_and_no_more() -> None:
    environment = {"A": "1", "": "no name", "CNI_ARGS": "x=\udcff"}
    _, stdout, _ = Child("/usr/bin/env", ["env"], environment, b"", True).wait()
    assert sorted(stdout.splitlines()) == [b"A=1", b"CNI_ARGS=x=\xff"]


def test_stderr_that_is_not_kept_is_ours(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("echo log >&2", keep_stderr=False) == (0, b"", b"")
    assert capfd.readouterr().err == "log\n"


def test_a_grandchild_that_keeps_the_output_open_holds_nobody_up() -> None:
    begin = time.monotonic()
    assert run("sleep 5 & echo done", keep_stderr=False)[1] == b"done\n"
    assert time.monotonic() - begin < 3


def start(script: str) -> Child:
    return Child(SHELL, [SHELL, "-c", script], {"PATH": "/usr/bin:/bin"}, b"", False, has_session=True)


def assert_gone(pid: int) -> None:
    """Fail unless a process ends at once, be it that nobody collects it."""
    deadline = time.monotonic() + 10
    stat = Path(f"/proc/{pid}/stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(params=["pidfd", "no pidfd"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels before 5.3 have no pidfd_open(2)."""
    if request.param == "no pidfd":

        def refuse(_pid: int) -> int:
            raise OSError(ENOSYS, "no such system call")

        monkeypatch.setattr(os, "pidfd_open", refuse)


@pytest.mark.usefixtures("kernel")
def test_a_program_that_ends_in_time() -> None:
    before = open_descriptors()
    assert start("echo out; exit 3").wait_within(10) == (3, b"out\n")
    assert start("kill -9 $$").wait_within(10) == (-signal.SIGKILL, b"")
    assert open_descriptors() <= before


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("trap", ["", 'trap "" TERM;'])
def test_a_program_that_hangs_is_ended_with_what_it_has_started(tmp_path: Path, trap: str) -> None:
    before = open_descriptors()
    child = start(f"{trap} sleep 600 & echo $! >{tmp_path}/pid; sleep 600; sleep 600")
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        child.wait_within(0.3)
    assert 0.3 <= time.monotonic() - begin < 5
    assert_gone(child.pid)
    assert_gone(int((tmp_path / "pid").read_text()))
    assert open_descriptors() <= before


def test_a_program_that_hangs_may_clean_up(tmp_path: Path) -> None:
    child = start(f"trap 'echo cleaned >{tmp_path}/said; exit' TERM; sleep 600 & wait")
    with pytest.raises(TimeoutError):
        child.wait_within(0.3)
    assert (tmp_path / "said").read_text() == "cleaned\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_told_to_end_takes_what_it_waits_for_with_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    program = (
        f'child = Child("/bin/sh", ["sh", "-c", "echo $$ >{tmp_path}/pid; sleep 600; sleep 600"], '
        '{"PATH": "/bin"}, b"", False, has_session=True)\n'
        "child.wait_within(60)"
    )
    with start_isolated(program) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.1)
        process.send_signal(number)
        process.communicate()
    assert process.returncode == -number
    assert_gone(int((tmp_path / "pid").read_text()))


def test_children_run_side_by_side() -> None:
    children = [Child(SHELL, [SHELL, "-c", f"exit {i}"], {}, b"", True) for i in range(5)]
    assert [child.wait()[0] for child in reversed(children)] == [4, 3, 2, 1, 0]


def test_no_descriptor_is_left_or_handed_down() -> None:
    before = open_descriptors()
    run("true")
    with pytest.raises(FileNotFoundError):
        Child("/nowhere/program", ["program"], {}, b"", True)
    assert Child(SHELL, [SHELL, "-c", "true"], {}, b"", True).wait_until_silent()
    assert not Child(SHELL, [SHELL, "-c", "echo no >&2; exit 1"], {}, b"", True).wait_until_silent()
    assert open_descriptors() <= before
    # In a process of its own: what this one inherited is not our matter. 3 is what ls itself opens.
    done = run_isolated(
        'child = Child("/bin/ls", ["ls", "/proc/self/fd"], {}, b"", True)\n'
        "assert child.wait()[1].split() == [b'0', b'1', b'2', b'3']"
    )
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_executed_raises(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    with pytest.raises(PermissionError):
        Child(str(plain), ["plain"], {}, b"", True)


def test_a_child_may_die_of_a_broken_pipe() -> None:
    # Python ignores SIGPIPE; programs expect not to.
    script = 'trap "" TERM; kill -PIPE $$; echo survived'
    assert run(script)[:2] == (-signal.SIGPIPE, b"")


def start_isolated(program: str) -> "subprocess.Popen[bytes]":
    root = str(Path(shibafu.__file__).parent.parent)
    script = f"import sys; sys.path.insert(0, {root!r})\nfrom shibafu.lean.subprocess import Child\n{program}"
    argv = [sys.executable, "-I", "-S", "-c", script]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run_isolated(program: str) -> "subprocess.CompletedProcess[bytes]":
    with start_isolated(program) as process:
        stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def test_a_caller_that_ignores_sigchld_changes_nothing() -> None:
    # Ignoring is inherited over execve(2), and makes the kernel forget the status of children.
    done = run_isolated(
        "import _signal; _signal.signal(17, _signal.SIG_IGN)\n"
        'child = Child("/bin/sh", ["sh", "-c", "cat; exit 3"], {}, b"x", True)\n'
        "assert child.wait() == (3, b'x', b'')\n"
        "_signal.signal(17, _signal.SIG_IGN)\n"
        'child = Child("/bin/sh", ["sh", "-c", "exit 3"], {}, b"", False, has_session=True)\n'
        "assert child.wait_within(10) == (3, b'')"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_closed_standard_descriptors_change_nothing(closed: tuple[int, ...]) -> None:
    # Some runtimes start hooks without them; the files in memory then take their numbers.
    done = run_isolated(
        f"import os\nfor d in {closed}: os.close(d)\n"
        'child = Child("/bin/sh", ["sh", "-c", "cat; echo e >&2; exit 3"], {}, b"x", True)\n'
        "os._exit(0 if child.wait() == (3, b'x', b'e\\n') else 1)"
    )
    assert done.returncode == 0, done.stderr


def make_program(directory: Path, mode: int = 0o755) -> Path:
    directory.mkdir(exist_ok=True)
    program = directory / "shibafu-sample-program"
    program.write_text("#!/bin/sh\n")
    program.chmod(mode)
    return program


def test_programs_are_found_in_order(tmp_path: Path) -> None:
    first, second = make_program(tmp_path / "a"), make_program(tmp_path / "b")
    path = f"{tmp_path}/nowhere:{first.parent}:{second.parent}"
    assert find_program(first.name, path) == str(first)


def test_what_is_not_executable_or_relative_is_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, program = make_program(tmp_path / "a", 0o644), make_program(tmp_path / "b")
    assert find_program(program.name, f"{plain.parent}:{program.parent}") == str(program)
    monkeypatch.chdir(program.parent)
    assert find_program(program.name, ":.:") is None
    (tmp_path / "c" / program.name).mkdir(parents=True)
    assert find_program(program.name, f"{tmp_path}/c") is None


def test_the_systems_directories_are_searched_with_an_empty_path() -> None:
    found = find_program("sh", "")
    assert found is not None
    assert found.endswith("bin/sh")
