"""`shibafu watch run` beside calls that come, go and are killed, and beside much that is not its business."""

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from netns.blue_network import BlueNetwork
from netns.calls_beside import come_and_go
from netns.watched import Watched, make_command, settle
from support.machine import Machine
from support.namespaces import Namespace
from support.suite import Suite
from support.traffic import can_reach
from support.waiting import wait_for

# Seconds of CPU for a thousand foreign veth pairs.
FOREIGN_CPU = 1.0
MEMORY = 25_000_000
CALLS = 100  # of each backend
_PAIRS = """
for i in $(seq 1000); do
    echo "link add fv$i group 77 type veth peer name fw$i"; echo "link set fv$i up"; echo "link set fw$i up"
done
echo "link del group 77"
"""
_FLAPS = """
echo "link add fv type veth peer name fw"
for i in $(seq 4000); do
    echo "link set fv mtu $((1000 + i % 100))"; echo "link set fw mtu $((1000 + i % 100))"
done
echo "link del fv"
"""


def test_what_is_removed_again_and_again_comes_back_later_and_later(network: BlueNetwork) -> None:
    """The pace beyond that is in unit/test_watch_backoff.py."""
    network.create()
    waits: list[float] = []
    with Watched(network.shibafu) as watched:

        def is_healed() -> bool:
            heals = [line for line in watched.lines if "bridge br-blue is missing" in line]
            return len(heals) > len(waits)

        for _ in range(5):
            begin = time.monotonic()
            network.host.run("ip", "link", "del", "br-blue")
            wait_for(is_healed)
            waits.append(time.monotonic() - begin)
            settle()
        # What is something else is healed at once all the same.
        network.host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
        assert float(watched.wait_for("forwarding of IPv4").split()[-2]) < 250
    assert max(waits[:3]) < 0.4
    # A second and two seconds after the heal before, of which some time has passed.
    assert waits[3] > 0.4
    assert waits[4] > 1.4


def test_a_bridge_that_is_deleted_twenty_times_is_contested(
    network: BlueNetwork, request: pytest.FixtureRequest
) -> None:
    """It takes a minute."""
    if not request.config.getoption("--long"):
        pytest.skip("needs --long")
    network.create()
    missing = "bridge br-blue is missing"
    with Watched(network.shibafu) as watched:
        for number in range(1, 11):
            network.host.run("ip", "link", "del", "br-blue")
            deadline = time.monotonic() + 70
            while sum(missing in line for line in watched.lines) < number:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        for _ in range(10):
            network.host.run("sh", "-c", "ip link del br-blue 2>/dev/null || true")
            settle()
        assert f"contested, no longer healed: {missing}" in watched.lines[-1]
        (contested,) = watched.read_status()["contested"]
        assert (contested["network"], contested["what"]) == ("blue", missing)
        assert "contested" in network.shibafu("network ls")
        assert "br-blue" not in network.host.run("ip", "link")
        with Namespace("late") as late:
            network.shibafu(f"network connect blue {late.name}")
            wait_for(lambda: not watched.read_status()["contested"])
            network.host.run("ip", "link", "del", "br-blue")
            wait_for(lambda: can_reach(network.db, "10.66.0.3", network.web))


@pytest.mark.long
def test_a_thousand_foreign_links_cost_little(network: BlueNetwork) -> None:
    network.create()
    with Watched(network.shibafu) as watched:
        before = watched.measure_cpu()
        network.host.run("sh", "-c", f"({_PAIRS}) | ip -batch -")
        settle()
        assert watched.measure_cpu() - before < FOREIGN_CPU
        assert watched.lines == []
        assert watched.measure_memory() < MEMORY


def test_announcements_that_were_lost_are_made_up_for(network: BlueNetwork) -> None:
    """More than a socket's buffer holds came while the process was stopped."""
    network.create()
    with Watched(network.shibafu) as watched:
        watched.signal(signal.SIGSTOP)
        network.host.run("sh", "-c", f"({_FLAPS}) | ip -batch -")
        network.host.run("ip", "link", "del", "br-blue")
        network.host.run("nft", "flush", "ruleset")
        watched.signal(signal.SIGCONT)
        watched.wait_for("announcements were lost")
        watched.wait_for("bridge br-blue is missing")
        watched.wait_for("firewall rules of network blue are missing")
        network.check()


@pytest.mark.long
def test_one_that_is_killed_while_it_heals_is_followed_by_one_that_completes(network: BlueNetwork) -> None:
    network.create()
    for _ in range(10):
        with Watched(network.shibafu) as watched:
            network.host.run("ip", "link", "del", "br-blue")
            network.host.run("nft", "flush", "ruleset")
            time.sleep(random.uniform(0.015, 0.08))
            watched.kill()
    with Watched(network.shibafu):
        pass
    network.check()


@pytest.mark.parametrize("backend", ["iptables", pytest.param("nftables", marks=pytest.mark.long)])
def test_nothing_comes_back_after_the_last_container(suite: Suite, machine: Machine, backend: str) -> None:
    """Beside calls of which some are killed, while somebody deletes the bridge and flushes the rules."""
    config = machine.config(ipMasqBackend=backend)
    names = [f"c{number}" for number in range(4)]
    for name in names:
        machine.container(name)
    before = machine.snapshot()
    with Watched(make_command(suite, machine, config)) as watched, ThreadPoolExecutor(4) as pool:
        rounds = [pool.submit(come_and_go, machine, config, name, CALLS // len(names)) for name in names]
        while not all(one.done() for one in rounds):
            for command in (("ip", "link", "del", "br0"), ("nft", "flush", "ruleset")):
                time.sleep(random.uniform(0.2, 1.0))
                machine.host.run("sh", "-c", " ".join(command) + " 2>/dev/null || true")
        for one in rounds:
            one.result()
        for name in names:
            machine.delete(config, name)
        machine.collect_garbage(config)
        machine.host.run("sh", "-c", "ip link del br0 2>/dev/null; nft flush ruleset")
        settle()
        assert "br0" not in machine.links()
        assert "Traceback" not in "\n".join(watched.lines)
    assert machine.snapshot() == before
