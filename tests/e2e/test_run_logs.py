"""What containers in the background print: kept for people, out of the container's reach."""

import shlex
import time

import pytest

from e2e.command import DATA_DIR
from e2e.containers import Containers
from e2e.machine import Machine

LIMIT = 10 << 20


def start(containers: Containers, script: str, options: str = "") -> None:
    containers.start("web1", f"--network none {options}", f"sh -c {shlex.quote(script)}")


def logs(containers: Containers) -> list[str]:
    return containers.command("logs web1").splitlines()


def wait_for_line(containers: Containers, line: str) -> None:
    deadline = time.monotonic() + 10
    while line not in logs(containers):
        assert time.monotonic() < deadline, logs(containers)
        time.sleep(0.05)


def test_the_order_is_that_of_printing(containers: Containers) -> None:
    numbers = " ".join(map(str, range(200)))
    start(containers, f"for i in {numbers}; do echo out $i; echo err $i >&2; done")
    containers.wait_until("web1", "exited")
    assert logs(containers) == [line for i in range(200) for line in (f"out {i}", f"err {i}")]


@pytest.mark.parametrize("user", ["root", "1000:1000", "nobody"])
def test_a_container_cannot_touch_what_is_kept(containers: Containers, machine: Machine, user: str) -> None:
    """By its standard output it could cut the file, read all of it, and give it away."""
    attacks = (
        "truncate -s 0 /proc/self/fd/1",
        ": >/proc/self/fd/1",
        "chmod 666 /proc/self/fd/1",
        "ln -s /proc/self/fd/1 /tmp/log && chmod 777 /tmp/log",
        "dd if=/dev/zero of=/proc/self/fd/1 bs=1 count=0 seek=0",
        "timeout 1 cat /proc/self/fd/1",
    )
    script = f"echo first; {'; '.join(f'{attack} 2>/tmp/said' for attack in attacks)}; echo last; sleep 600"
    start(containers, script, f"-u {user}")
    wait_for_line(containers, "last")
    assert logs(containers) == ["first", "last"]
    kept = machine.root / f"{DATA_DIR.lstrip('/')}/containers/web1/log"
    assert (kept.stat().st_mode & 0o777, kept.stat().st_uid) == (0o600, 0)
    pid = containers.view("web1")["pid"]
    for number in (1, 2):
        assert machine.run("readlink", f"/proc/{pid}/fd/{number}").startswith("pipe:")


@pytest.mark.parametrize("user", ["root", "1000:1000"])
def test_programs_open_their_standard_output_by_its_name(containers: Containers, user: str) -> None:
    """As web servers do, whose logs are links to it."""
    start(
        containers, "echo one >/dev/stdout; echo two >/dev/stderr; echo three >/proc/self/fd/1", f"-u {user}"
    )
    containers.wait_until("web1", "exited")
    assert logs(containers) == ["one", "two", "three"]


def test_much_that_is_printed_is_kept_up_to_a_limit(containers: Containers, machine: Machine) -> None:
    start(containers, "seq 1 7000000; echo end")  # 54 MB
    follower = containers.command.start("logs --follow web1")
    assert follower.stdout
    last, count = "", 0
    for line in follower.stdout:
        last, count = line, count + 1
    assert (follower.wait(20), last) == (0, "end\n")
    # Quicker than it was printed, usually: then it has seen all.
    assert count > 1_000_000
    containers.wait_until("web1", "exited")
    directory = machine.root / DATA_DIR.lstrip("/") / "containers" / "web1"
    sizes = {path.name: path.stat().st_size for path in directory.iterdir() if path.name.startswith("log")}
    assert set(sizes) == {"log", "log.1"}
    assert all(size <= LIMIT for size in sizes.values())
    kept = logs(containers)
    assert kept[-1] == "end"
    numbers = [int(line) for line in kept[1:-1]]
    assert numbers == list(range(7_000_001 - len(numbers), 7_000_001))
    assert len("\n".join(kept)) > LIMIT


@pytest.mark.long
def test_following_goes_on_in_new_files(containers: Containers, machine: Machine) -> None:
    """Slower than a reader: nothing is missed, and nothing is there twice."""
    script = "for i in 1 2 3 4 5 6; do seq ${i}000000 ${i}500000; sleep 1; done"
    start(containers, script)
    follower = containers.command.start("logs --follow web1")
    said, _ = follower.communicate(timeout=60)
    expected = [str(n) for i in range(1, 7) for n in range(i * 1_000_000, i * 1_000_000 + 500_001)]
    assert said.split() == expected


def test_what_a_container_leaves_behind_does_not_delay_its_end(
    containers: Containers, machine: Machine
) -> None:
    """Nobody may keep a container attached by keeping its output open: here a program of the host's."""
    start(containers, "echo one; sleep 2; echo two")
    pid = containers.view("web1")["pid"]
    holder = machine.start("sh", "-c", f"exec 9>/proc/{pid}/fd/1; echo held; exec sleep 600 9>&9")
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    containers.wait_until("web1", "exited")
    assert logs(containers) == ["one", "two"]
    holder.kill()
    holder.wait()


def test_all_is_kept_when_the_end_is_known(containers: Containers) -> None:
    for _ in range(5):
        start(containers, "seq 1 5000")
        containers.wait_until("web1", "exited")
        assert logs(containers) == [str(number) for number in range(1, 5001)]
        containers.command("rm web1")


def test_a_later_start_goes_on_in_the_same_log(containers: Containers) -> None:
    start(containers, "echo run; sleep 600")
    wait_for_line(containers, "run")
    containers.command("restart --time 0 web1")
    deadline = time.monotonic() + 10
    while logs(containers) != ["run", "run"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_output_that_nobody_reads_any_more_is_refused(containers: Containers, machine: Machine) -> None:
    """As with Podman: when the monitor was killed, printing fails; a silent container goes on."""
    start(containers, "while echo more; do sleep 0.2; done")
    wait_for_line(containers, "more")
    containers.start("silent", "--network none")
    for name in ("web1", "silent"):
        machine.run("pkill", "-9", "-f", f"shibafu-monitor .*/{name}$")
    containers.wait_until("web1", "killed")
    assert containers.state("silent") == "running"


def test_the_monitor_is_small(containers: Containers, machine: Machine) -> None:
    start(containers, "seq 1 1000000; sleep 600")
    wait_for_line(containers, "1000000")
    (pid,) = machine.run("pgrep", "-f", "shibafu-monitor .*/web1$").split()
    status = machine.run("cat", f"/proc/{pid}/status")
    used = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    assert used < 6 * 1024, status
