"""GC of many attachments at once: what it costs, what fails alone, and what a kill leaves to the next GC."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.killed_calls import call_and_kill, find_steps
from support.machine import Config, Machine
from support.namespaces import Namespace
from support.remains import assert_clean
from support.waiting import wait_for

LIVE = ("live", "eth0")


@pytest.fixture
def config(machine: Machine) -> Config:
    """A network with all that a port can have, and one container that stays."""
    config = machine.config("10.10.0.0/16", "fd00:10::/64", macspoofchk=True, isolate=True)
    machine.add(config, *LIVE)
    return config


def attach(machine: Machine, config: Config, count: int) -> list[str]:
    """Attach containers that no runtime will list; return their links on the host."""
    before = set(machine.links())
    for number in range(count):
        machine.add(config, f"c{number}")
    return sorted(name for name in set(machine.links()) - before if name.startswith("veth"))


def listing(config: Config, *valid: tuple[str, str]) -> Config:
    """Return a configuration for GC."""
    listed = [{"containerID": container, "ifname": ifname} for container, ifname in valid]
    return config | {"cni.dev/valid-attachments": listed}


def list_checked(machine: Machine) -> set[str]:
    """Return the ports in any set of the network's MAC spoof check."""
    return set(re.findall(r'"(veth\w+)"', machine.host.run("nft", "list", "ruleset", "bridge")))


def record_of(machine: Machine, link: str) -> Path:
    return machine.records / "net" / link


def measure(machine: Machine, config: Config, count: int) -> tuple[int, int]:
    """Return the processes that a GC of so many attachments starts, and its own system calls."""
    attach(machine, config, count)
    report = machine.directory / "strace"
    machine.prefix = ["/usr/bin/strace", "--follow-forks", "--quiet=all", f"--output={report}"]
    machine.collect_garbage(config, LIVE)
    machine.prefix = []
    calls = [line.split(maxsplit=1) for line in report.read_text().splitlines()]
    first = calls[0][0]
    own = sum(pid == first and "(" in call for pid, call in calls)
    return len({pid for pid, _ in calls}), own


def test_each_costs_a_few_system_calls_and_no_process(machine: Machine, config: Config) -> None:
    few, many = 4, 24
    measure(machine, config, few)
    processes, calls = measure(machine, config, few)
    processes_of_many, calls_of_many = measure(machine, config, many)
    assert processes_of_many == processes
    # 10 to look at record and link, 5 to remove both and to look whether an ADD has come between, and those
    # of the IPAM plugin, in the same process, for two addresses.
    assert calls_of_many - calls <= 45 * (many - few)
    machine.check(config, *LIVE)


def test_more_than_a_batch(machine: Machine, config: Config) -> None:
    """Links and records as if calls had made them: so many containers would take long."""
    (link,) = attach(machine, config, 1)
    record = record_of(machine, link).read_text()
    names = [f"veth{number:011x}" for number in range(300)]
    lines = [f"link add {name} type veth peer name x{number}" for number, name in enumerate(names)]
    lines += [f"link set {name} master br0" for name in names]
    machine.host.run("sh", "-c", f"ip -batch - <<'END'\n{chr(10).join(lines)}\nEND")
    for name in names:
        record_of(machine, name).write_text(record)
    machine.collect_garbage(config, LIVE)
    assert len([name for name in machine.links() if name.startswith(("veth", "x"))]) == 1
    assert len([name for name in machine.remembered() if "/veth" in name]) == 1
    machine.check(config, *LIVE)


def test_one_that_cannot_be_removed_keeps_its_record_and_all_addresses(
    machine: Machine, config: Config
) -> None:
    """The loopback device stands for a link that the kernel does not delete."""
    links = attach(machine, config, 4)
    stuck, *rest = links
    leases = machine.leases()
    machine.host.run("ip", "link", "del", stuck)
    machine.host.run("ip", "link", "set", "lo", "down")
    machine.host.run("ip", "link", "set", "lo", "name", stuck)
    error = machine.fail(listing(config, LIVE), command="GC")
    assert "operation not supported" in error["msg"]
    assert not set(rest) & set(machine.links())
    assert [record_of(machine, link).exists() for link in links] == [True, False, False, False]
    assert machine.leases() == leases
    machine.host.run("ip", "link", "set", stuck, "name", "lo")
    machine.host.run("ip", "link", "set", "lo", "up")
    machine.collect_garbage(config, LIVE)
    assert not record_of(machine, stuck).exists()
    assert len(machine.leases()) == 2
    machine.check(config, *LIVE)


def test_ports_that_cannot_be_closed_go_one_by_one(machine: Machine, config: Config) -> None:
    """A bridge that speaks the spanning tree protocol decides on its ports' states itself."""
    links = attach(machine, config, 3)
    machine.host.run("ip", "link", "set", "br0", "type", "bridge", "stp_state", "1")
    machine.collect_garbage(config, LIVE)
    assert not set(links) & set(machine.links())


def test_links_that_are_gone_or_no_ports_any_more(machine: Machine, config: Config) -> None:
    links = attach(machine, config, 4)
    machine.host.run("ip", "link", "del", links[0])
    machine.host.run("ip", "link", "set", links[1], "nomaster")
    machine.collect_garbage(config, LIVE)
    assert not set(links) & (set(machine.links()) | list_checked(machine))
    machine.check(config, *LIVE)


@pytest.mark.parametrize("content", ["", "{", '{"macspoofchk": true}', '{"macspoofchk": true, "mac": "; x"}'])
def test_a_torn_record_keeps_nothing_from_going(machine: Machine, config: Config, content: str) -> None:
    links = attach(machine, config, 3)
    record_of(machine, links[0]).write_text(content)
    record_of(machine, "veth" + "x" * 60).write_text("{}")
    machine.collect_garbage(config, LIVE)
    assert not set(links) & set(machine.links())
    assert not set(links[1:]) & list_checked(machine)
    assert len([name for name in machine.remembered() if "/veth" in name]) == 1
    machine.check(config, *LIVE)


def test_what_nft_refuses_is_tried_again(machine: Machine, config: Config) -> None:
    links = attach(machine, config, 3)
    failing = machine.make_program("nft", "echo oops >&2; exit 1")
    error = machine.fail(listing(config, LIVE), command="GC", PATH=failing)
    assert "oops" in error["msg"]
    assert not set(links) & set(machine.links())
    assert set(links) <= list_checked(machine)
    machine.collect_garbage(config, LIVE)
    assert not set(links) & list_checked(machine)
    assert len([name for name in machine.remembered() if "/veth" in name]) == 1


# Each test takes every so many-th step.
SHARES = 4


@pytest.mark.parametrize(
    "share", [0, *(pytest.param(share, marks=pytest.mark.long) for share in range(1, SHARES))]
)
def test_killed_at_every_step(machine: Machine, config: Config, share: int) -> None:
    """One container stays, or none, in turns."""
    attach(machine, config, 2)
    steps = find_steps(machine, "GC", listing(config, LIVE))[share::SHARES]
    before = machine.snapshot()
    killed = 0
    for number, step in enumerate(steps):
        valid = (LIVE,) if number % 2 else ()
        links = attach(machine, config, 2)
        killed += call_and_kill(machine, "GC", listing(config, *valid), step)
        machine.collect_garbage(config, *valid)
        if valid:
            assert machine.snapshot() == before, step
            assert not set(links) & list_checked(machine), step
        else:
            assert_clean(machine)
            machine.add(config, *LIVE)
            before = machine.snapshot()
    assert killed > len(steps) // 2
    machine.check(config, *LIVE)


def test_while_an_add_works(machine: Machine) -> None:
    """The record of one that is being attached is not listed: GC has marked it, and ADD goes no further."""
    # Without rules of its own it does not wait for GC.
    config = machine.config(ipMasq=False, macspoofchk=True)
    machine.add(config, *LIVE)
    attach(machine, config, 2)
    machine.container("late")
    reached, go_on = machine.directory / "reached", machine.directory / "go-on"
    slow = machine.make_plugin(f"$REAL; touch {reached}; while [ ! -e {go_on} ]; do sleep 0.01; done")
    adding = machine.start("ADD", config, "late", CNI_PATH=slow)
    wait_for(reached.exists)
    gc_reached, gc_go_on = machine.directory / "gc-reached", machine.directory / "gc-go-on"
    pause = f"touch {gc_reached}; while [ ! -e {gc_go_on} ]; do sleep 0.01; done"
    slow_nft = machine.make_program("nft", f'[ -e {gc_reached} ] || {{ {pause}; }}; exec $REAL "$@"')
    collecting = machine.start("GC", listing(config, LIVE), PATH=slow_nft)
    wait_for(gc_reached.exists)
    go_on.touch()
    added = adding.finish()
    assert (added.status, "was detached while it was being attached" in added.json["msg"]) == (1, True)
    gc_go_on.touch()
    assert collecting.finish().status == 0
    assert set(machine.links(machine.container("late"))) == {"lo"}
    assert len(machine.leases()) == 1
    (live,) = (name for name in machine.links() if name.startswith("veth"))
    assert list_checked(machine) == {live}
    assert len([name for name in machine.remembered() if "/veth" in name]) == 1
    machine.check(config, *LIVE)


@contextmanager
def flooding(attacker: Namespace) -> Iterator[None]:
    """Have a container send frames to everybody, as many as it can."""
    with attacker.enter():
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        raw.bind(("eth0", 0))
    frame = b"\xff" * 6 + raw.getsockname()[4] + b"\x88\xb5" + bytes(46)
    is_over = threading.Event()

    def send() -> None:
        while not is_over.is_set():
            try:
                raw.send(frame)
            except OSError:
                return  # the link is gone

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        is_over.set()
        sender.join()
        raw.close()


def count_packets(machine: Machine, chain: str) -> int:
    listed = machine.host.run("nft", "list", "chain", "bridge", "watch", chain)
    return sum(int(number) for number in re.findall(r"counter packets (\d+)", listed))


def test_an_internal_network_is_closed_to_the_last(machine: Machine) -> None:
    """Its ports are known by their group, and leave it before they are deleted."""
    config = machine.config(internal=True, isDefaultGateway=None, ipMasq=None)
    machine.add(config, *LIVE)
    for _ in range(2):
        ports = attach(machine, config, 16)
        names = ", ".join(f'"{port}"' for port in ports)
        table = "add table bridge watch\ndelete table bridge watch\nadd table bridge watch\n" + "".join(
            f"add chain bridge watch {chain} {{ type filter hook input priority {priority}; }}\n"
            f"add rule bridge watch {chain} iifname {{ {names} }} counter\n"
            for chain, priority in (("before", -301), ("behind", -299))
        )
        machine.host.run("sh", "-c", f"nft -f - <<'END'\n{table}END")
        with flooding(machine.container("c0")):
            while not count_packets(machine, "before"):
                time.sleep(0.01)
            machine.collect_garbage(config, LIVE)
        assert count_packets(machine, "behind") == 0
