"""`shibafu watch run` and what an administrator does on purpose: that stays as it is."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from netns.blue_network import BlueNetwork
from netns.calls_beside import come_and_go
from netns.watched import Watched, make_command, settle
from support.machine import Machine
from support.namespaces import Namespace
from support.suite import Suite
from support.traffic import can_reach

ROUNDS = 20
CALLS = 200
# Seconds after which a watcher looks at a network again that was paused, and some more.
OVER = 35.0


@pytest.fixture
def late() -> Iterator[Namespace]:
    """A third container, which is attached during a pause."""
    with Namespace("late") as namespace:
        yield namespace


def break_everything(network: BlueNetwork) -> None:
    network.host.run("ip", "link", "del", "br-blue")
    network.host.run("nft", "flush", "ruleset")
    network.host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")


def assert_broken(network: BlueNetwork) -> None:
    assert "br-blue" not in network.host.run("ip", "link")
    assert network.host.run("nft", "list", "ruleset") == ""
    assert network.host.run("sysctl", "-n", "net.ipv4.ip_forward") == "0\n"


def test_a_paused_network_is_left_alone_until_it_is_resumed(network: BlueNetwork, late: Namespace) -> None:
    network.create()
    with Watched(network.shibafu) as watched:
        network.shibafu("network pause blue")
        break_everything(network)
        settle()
        network.shibafu(f"network connect blue {late.name}")
        settle()
        assert_broken(network)
        network.shibafu("network resume blue")
        network.check()
        # From now on it is healed again.
        network.host.run("ip", "link", "set", "br-blue", "down")
        watched.wait_for("network blue: no longer paused")
        healed = watched.wait_for("bridge br-blue is down").partition(" in ")[0]
        network.check()
        said = network.shibafu("watch status")
        assert healed.partition("; ")[0].partition(" (")[0] in said


def test_one_that_starts_during_a_pause(network: BlueNetwork) -> None:
    network.create()
    network.shibafu("network pause blue")
    break_everything(network)
    with Watched(network.shibafu):
        settle()
        assert_broken(network)
    assert network.shibafu.json("watch run --once")["heals"] == []
    assert_broken(network)


def test_a_bridge_that_is_down_on_purpose_stays_down(network: BlueNetwork) -> None:
    network.create("--ipv6")
    with Watched(network.shibafu):
        network.shibafu("network down blue")
        settle()
        assert network.shibafu.json("network ls")[0]["bridge"]["state"] == "down"
        assert not can_reach(network.db, "10.66.0.3", network.web)
        network.shibafu("network resume blue")
        network.check()


@pytest.mark.long  # it is noticed within half a minute
def test_a_pause_that_is_over_ends_by_itself(network: BlueNetwork) -> None:
    network.create()
    with Watched(network.shibafu):
        network.shibafu("network pause blue --for 2s")
        break_everything(network)
        deadline = time.monotonic() + OVER
        while "br-blue" not in network.host.run("ip", "link"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        settle()
        network.check()


@pytest.mark.long  # twenty rounds
def test_a_pause_waits_for_a_heal_that_is_under_way(network: BlueNetwork) -> None:
    """Whatever is done once `pause` has returned is not undone."""
    network.create()
    with Watched(network.shibafu):
        for _ in range(ROUNDS):
            network.host.run("ip", "link", "set", "br-blue", "down")
            time.sleep(random.uniform(0.0, 0.06))
            network.shibafu("network pause blue")
            network.host.run("ip", "link", "del", "br-blue")
            time.sleep(0.15)
            assert "br-blue" not in network.host.run("ip", "link")
            network.shibafu("network resume blue")
        network.check()


@pytest.mark.parametrize("word", ["pause", "down"])
def test_nothing_comes_back_of_a_network_that_is_removed(network: BlueNetwork, word: str) -> None:
    network.create()
    with Watched(network.shibafu):
        network.shibafu(f"network {word} blue")
        network.shibafu("network rm --force blue")
        settle()
        assert "br-blue" not in network.host.run("ip", "link")
        assert "blue" not in network.host.run("nft", "list", "ruleset")
    assert not (network.shibafu.records / "blue").exists()


@pytest.mark.long
def test_calls_beside_a_paused_network(suite: Suite, machine: Machine) -> None:
    """Containers come and go, a third of the calls are killed, and what somebody has removed stays away."""
    config = machine.config(cniVersion="1.0.0")
    shibafu = make_command(suite, machine, config)
    names = [f"c{number}" for number in range(4)]
    machine.add(config, "keeper")
    for name in names:
        machine.container(name)
    shibafu("network pause net")
    machine.host.run("ip", "link", "del", "br0")
    machine.host.run("nft", "flush", "ruleset")
    with Watched(shibafu) as watched, ThreadPoolExecutor(4) as pool:
        rounds = [pool.submit(come_and_go, machine, config, name, CALLS // len(names)) for name in names]
        while not all(one.done() for one in rounds):
            time.sleep(0.2)
            assert "another watcher is already running" in shibafu.fail("watch run", status=75)
            assert "br0" not in machine.links()
            assert machine.host.run("nft", "list", "ruleset") == ""
        for one in rounds:
            one.result()
        assert shibafu.json("network ls")[0]["paused"] is not None
        machine.delete(config, "keeper")
        settle()
        assert "br0" not in machine.links()
        assert "Traceback" not in "\n".join(watched.lines)
    assert not (machine.records / "net").exists()
