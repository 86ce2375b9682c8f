"""An agent that is killed at any step: the next one finishes what it has begun, and leaves nothing else.

The main thread is traced, which does all that changes the kernel and files. What its other threads ask of
etcd goes through a proxy.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netns.overlay_etcd_proxy import KillingProxy
from netns.overlay_lab import SUBNETS, OverlayHost, OverlayLab, Pair, wait_until
from support.killed_calls import STEPS, read_steps
from support.pings import Pings

pytestmark = pytest.mark.long

# Steps that an agent takes at least when another host joins or leaves.
_FEWEST = 8

Step = tuple[str, int]


def make_tracer(report: Path, step: Step | None = None) -> list[str]:
    """Return what writes down the main thread's steps, or kills the process when it enters one."""
    inject = [f"--inject={step[0]}:signal=KILL:when={step[1]}"] if step else []
    return [
        "/usr/bin/strace",
        "--daemonize",
        "--quiet=all",
        f"--output={report}",
        f"--trace={STEPS}",
        *inject,
    ]


def has_settled(host: OverlayHost, hosts: int = 2) -> bool:
    """Return whether the agent that was started last has written that it has joined, and knows all hosts."""
    state = host.read_state()
    is_own = host.agent is not None and state.get("pid") == host.find_agent()
    return is_own and state["state"] == "joined" and state["hosts"] == hosts


def list_steps(host: OverlayHost, report: Path, hosts: int = 2) -> list[Step]:
    """Start an agent, and return what it does until it has settled."""
    host.start(*make_tracer(report))
    wait_until(lambda: has_settled(host, hosts), "join")
    steps = read_steps(report)
    host.stop(signal.SIGKILL)
    return steps


def start_and_kill(host: OverlayHost, report: Path, step: Step) -> bool:
    """Start an agent that is killed at a step; return whether it came to that."""
    host.start(*make_tracer(report, step))
    assert host.agent is not None
    try:
        status = host.agent.wait(timeout=5)
    except subprocess.TimeoutExpired:
        host.stop(signal.SIGKILL)
        return False
    host.agent = None
    assert status == -signal.SIGKILL
    return True


def go_on(host: OverlayHost, hosts: int = 2) -> None:
    """Have another agent start, and wait until it has settled."""
    host.start()
    wait_until(lambda: has_settled(host, hosts), "join", 30)


def list_files(host: OverlayHost) -> list[str]:
    """Return the files of an agent."""
    directories = (host.subnet_file.parent, Path("/run/shibafu/overlay"))
    names = {path.name for one in directories for path in one.iterdir()}
    begins = f"{host.number}.env", f"{host.number}.prom", f"{host.name}."
    return sorted(name for name in names if name.startswith(begins))


def forget(lab: OverlayLab, host: OverlayHost) -> None:
    """Have a host be one that was never there."""
    lab.etcd.ctl("del", f"{SUBNETS}/{host.read_subnet().replace('.1/', '.0-')}")
    host.namespace.run("ip", "link", "del", "flannel.1")
    for path in (host.subnet_file, Path(f"/run/shibafu/overlay/{host.name}.json")):
        path.unlink()


def assert_whole(lab: OverlayLab, files: list[str], killed_at: object) -> None:
    """Assert that both hosts have what they need, once each; the second one also these files."""
    first, second = lab.hosts
    wait_until(lambda: first.routes_to(second) and second.routes_to(first), f"routes after {killed_at}")
    first.namespace.run("ping", "-c1", "-w5", second.read_subnet().replace(".1/24", ".0"))
    keys = sorted(host.read_subnet().replace(".1/", ".0-") for host in lab.hosts)
    assert sorted(lab.list_keys()) == keys, killed_at
    # A route, a neighbour and an entry of the FDB.
    assert (len(first.list_entries()), len(second.list_entries())) == (3, 3), killed_at
    devices = second.namespace.run("ip", "-br", "link", "show", "type", "vxlan")
    assert len(devices.splitlines()) == 1, killed_at
    assert list_files(second) == files, killed_at


def test_killed_at_any_step_of_its_first_start(lab: OverlayLab, tmp_path: Path) -> None:
    first, second = lab.hosts
    report = tmp_path / "strace"
    wait_until(lambda: has_settled(second), "the state")
    files = list_files(second)
    second.stop(signal.SIGKILL)
    forget(lab, second)
    steps = list_steps(second, report)
    killed = 0
    for step in steps:
        forget(lab, second)
        wait_until(lambda: first.count_routes() == 0, "no routes")
        killed += start_and_kill(second, report, step)
        go_on(second)
        assert_whole(lab, files, step)
        second.stop(signal.SIGKILL)
    assert killed > len(steps) // 2


@pytest.mark.parametrize("is_done_first", [False, True], ids=["before", "after"])
def test_killed_at_any_request_to_etcd(lab: OverlayLab, is_done_first: bool) -> None:
    """Before etcd has got a request of its first start, or when etcd has done what it asks for."""
    first, second = lab.hosts
    wait_until(lambda: has_settled(second), "the state")
    files = list_files(second)
    with KillingProxy(second, first.address) as proxy:
        second.stop(signal.SIGKILL)
        second.configure(endpoints=[proxy.url])
        forget(lab, second)
        go_on(second)
        requests = range(1, proxy.count + 1)
        # The network, all hosts twice, a lease, the key, and a watch.
        assert len(requests) >= 6
        for number in requests:
            second.stop(signal.SIGKILL)
            forget(lab, second)
            wait_until(lambda: first.count_routes() == 0, "no routes")
            proxy.arm(number, is_done_first)
            second.start()
            assert second.agent is not None
            assert second.agent.wait(timeout=30) == -signal.SIGKILL
            go_on(second)
            assert_whole(lab, files, number)


def test_killed_at_any_step_of_a_restart(pair: Pair, lab: OverlayLab, tmp_path: Path) -> None:
    """Nothing that is right is changed meanwhile."""
    first, second, container = pair
    report = tmp_path / "strace"
    wait_until(lambda: has_settled(second), "the state")
    expected = lab.list_keys(), second.list_entries(), first.list_entries(), list_files(second)
    second.stop(signal.SIGKILL)
    steps = list_steps(second, report)
    with Pings(container, second.calc_container()) as pings:
        killed = 0
        for step in steps:
            killed += start_and_kill(second, report, step)
            assert second.list_entries() == expected[1], step
        go_on(second)
    assert killed > len(steps) // 2
    assert pings.lost == 0
    assert (lab.list_keys(), second.list_entries(), first.list_entries(), list_files(second)) == expected


@contextmanager
def traced(host: OverlayHost, report: Path, step: Step | None = None) -> Iterator[None]:
    """Trace the agent that runs."""
    pid = host.find_agent()
    options = [option for option in make_tracer(report, step) if option != "--daemonize"]
    tracer = subprocess.Popen([*options, f"--attach={pid}"])
    try:
        wait_until(lambda: "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text(), "the tracer")
        # A system call that was interrupted is about to be made again.
        time.sleep(0.05)
        yield
    finally:
        tracer.terminate()
        tracer.wait(10)


@pytest.mark.parametrize("is_joining", [True, False], ids=["joins", "leaves"])
def test_killed_at_any_step_while_another_host(
    pair: Pair, lab: OverlayLab, tmp_path: Path, is_joining: bool
) -> None:
    first, second, container = pair
    report = tmp_path / "strace"

    def have_other(is_there: bool) -> None:
        """Have another host join or leave, and wait for the agents that there are."""
        if is_there:
            lab.join_by_hand("10.42.200.0")
        else:
            lab.etcd.ctl("del", f"{SUBNETS}/10.42.200.0-24")
        for host in lab.hosts if second.agent else [first]:
            wait_until(lambda: has_settled(host, 2 + is_there), host.name)  # noqa: B023
            wait_until(lambda: host.has_route("10.42.200.0") == is_there, host.name)  # noqa: B023
        # The kernel announces what they have done, and they look at it again.
        time.sleep(0.3)

    have_other(is_joining)
    expected = second.list_entries(), list_files(second)
    have_other(not is_joining)
    with traced(second, report):
        have_other(is_joining)
    steps = read_steps(report)
    assert len(steps) >= _FEWEST
    killed = 0
    with Pings(container, second.calc_container()) as pings:
        for step in steps:
            have_other(not is_joining)
            killed += kill_while(second, report, step, lambda: have_other(is_joining))
            go_on(second, 2 + is_joining)
            wait_until(lambda: (second.list_entries(), list_files(second)) == expected, f"after {step}", 10)
    # An announcement that comes late doubles the steps, and does not come late each time.
    assert killed >= _FEWEST
    assert pings.lost == 0


def kill_while(host: OverlayHost, report: Path, step: Step, happen: Callable[[], None]) -> bool:
    """Have something happen, at a step of which the agent is killed; return whether it was."""
    agent = host.agent
    assert agent is not None
    with traced(host, report, step):
        host.agent = None  # the others are waited for
        happen()
        try:
            return agent.wait(timeout=2) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()
            return False
