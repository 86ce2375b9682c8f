"""Two routers of the host: when one of them dies, containers reach the world by the other."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from netns.router_lab import ADDRESSES, GATEWAYS, PREFIXES, WORLD, RouterLab
from netns.watched import Watched, settle
from support.machine import Machine
from support.traffic import arrives, open_socket
from support.waiting import wait_for

# Seconds. It takes some 20 and 350 ms, but machines that run tests are busy; the kernel alone takes up to a
# second until it notices that a carrier is gone, and does not notice silence.
CARRIER_BOUND = 0.5
SILENT_BOUND = 1.0
KERNEL_BOUND = 2.0

versions = pytest.mark.parametrize("version", [4, pytest.param(6, marks=pytest.mark.long)])


@pytest.fixture
def lab(machine: Machine) -> Iterator[RouterLab]:
    with RouterLab(machine) as made:
        yield made


@pytest.fixture
def watched(lab: RouterLab) -> Iterator[Watched]:
    """The watcher, which sends packets to the first router of each family; there is a container."""
    lab.machine.add(lab.config)
    lab.configure()
    with lab.watch() as watched:
        lab.wait_until_routed(watched)
        yield watched


def say(version: int, number: int, text: str) -> str:
    """Return what the log says of a router."""
    return f"{GATEWAYS[version][number]} dev eth{number} {text}"


def measure(lab: RouterLab, watched: Watched, version: int, damage: Callable[[], object], said: str) -> float:
    """Return for how long a container is interrupted by something that the watcher's log tells."""
    with lab.stream(version) as stream:
        begin = time.monotonic()
        damage()
        watched.wait_for(said)
        stream.wait_for_arrivals()
        return stream.measure_gap(begin)


@versions
def test_carrier_is_lost_and_returns(lab: RouterLab, watched: Watched, version: int) -> None:
    """The return costs nothing: the router has answered ten times before packets are sent to it."""
    assert lab.find_first(version) == "eth0"
    said = say(version, 1, f"is active now, since {say(version, 0, 'has no carrier')}; switched in ")
    assert measure(lab, watched, version, lambda: lab.cut(0), said) < CARRIER_BOUND
    assert lab.find_first(version) == "eth1"
    assert lab.list_defaults(version)[0].startswith(f"default via {GATEWAYS[version][1]} dev eth1 proto 115")
    assert " metric 20100 " in lab.list_defaults(version)[1]
    said = say(version, 0, "is active now, since it works and is preferred")
    assert measure(lab, watched, version, lambda: lab.mend(0), said) < CARRIER_BOUND
    assert lab.find_first(version) == "eth0"


@pytest.mark.long
@versions
@pytest.mark.parametrize("damage", ["link set eth0 down", "link del eth0"])
def test_link_goes(lab: RouterLab, watched: Watched, version: int, damage: str) -> None:
    """The kernel deletes its routes, and the log tells of that as of any other failover."""
    said = say(version, 1, f"is active now, since {say(version, 0, 'cannot be used: ')}")
    assert measure(lab, watched, version, lambda: lab.host.run("ip", *damage.split()), said) < CARRIER_BOUND
    (taken,) = (one for one in watched.read_status()["routers"] if one["gateway"] == GATEWAYS[version][1])
    assert (taken["state"], taken["takeovers"]) == ("active", 1)


@versions
def test_silence(lab: RouterLab, watched: Watched, version: int) -> None:
    said = say(version, 1, f"is active now, since {say(version, 0, 'does not answer')}")
    assert measure(lab, watched, version, lambda: lab.silence(0), said) < SILENT_BOUND
    assert lab.find_first(version) == "eth1"
    wait_for(lambda: lab.read_states(watched)[GATEWAYS[version][0]] == "dead")


@pytest.mark.long
@versions
def test_carrier_is_lost_without_the_watcher(lab: RouterLab, watched: Watched, version: int) -> None:
    """Killed, it leaves routes and switches; the kernel passes over the dead link by itself."""
    watched.kill()
    with lab.stream(version) as stream:
        begin = time.monotonic()
        lab.cut(0)
        wait_for(lambda: lab.find_first(version) == "eth1")
        stream.wait_for_arrivals()
        assert stream.measure_gap(begin) < KERNEL_BOUND


@pytest.mark.long
@versions
def test_backup_dies(lab: RouterLab, watched: Watched, version: int) -> None:
    """Nobody notices, but for the log."""
    said = say(version, 1, "does not answer")
    assert measure(lab, watched, version, lambda: lab.silence(1), said) < CARRIER_BOUND
    assert lab.find_first(version) == "eth0"


@pytest.mark.long
@versions
def test_both_die_and_return(lab: RouterLab, watched: Watched, version: int) -> None:
    """While nobody answers, nothing is changed; the first that works again is used."""
    before = lab.list_defaults(version)
    for number in (0, 1):
        lab.silence(number)
    watched.wait_for("all are dead, so nothing is changed")
    settle()
    assert lab.list_defaults(version) == before
    assert not any("is active now" in line for line in watched.lines)
    lab.revive(1)
    watched.wait_for(say(version, 1, "is active now"))
    assert arrives(lab.world, WORLD[version], lab.machine.container()) == ADDRESSES[version][1]
    lab.revive(0)
    watched.wait_for(say(version, 0, "is active now"))
    assert arrives(lab.world, WORLD[version], lab.machine.container()) == ADDRESSES[version][0]


@pytest.mark.long
@versions
def test_watcher_restarts_during_a_failover(lab: RouterLab, watched: Watched, version: int) -> None:
    """It finds in the kernel which router is dead, and asks that before it believes in it again."""
    lab.silence(0)
    watched.wait_for(say(version, 1, "is active now"))
    watched.kill()
    before = lab.list_defaults(version)
    with lab.stream(version) as stream, lab.watch() as again:
        begin = time.monotonic()
        assert lab.read_states(again)[GATEWAYS[version][0]] == "dead"
        settle()
        stream.wait_for_arrivals()
        assert stream.measure_gap(begin) < CARRIER_BOUND
        assert lab.list_defaults(version) == before
        lab.revive(0)
        again.wait_for(say(version, 0, "is active now"))


def exchange(client: socket.socket, listener: socket.socket, target: tuple[str, int]) -> str:
    """Send a datagram and an answer; return where the first came from."""
    client.sendto(b"ping", target)
    _, source = listener.recvfrom(16)
    listener.sendto(b"pong", source)
    assert client.recv(16) == b"pong"
    return str(source[0])


def count_flows(lab: RouterLab, address: str) -> int:
    """Return how many connections are masqueraded with an address."""
    family = ["-f", "ipv6"] if ":" in address else []
    return len(lab.host.run("conntrack", "-L", *family, "-q", address).splitlines())


@versions
def test_masqueraded_connections(lab: RouterLab, watched: Watched, version: int) -> None:
    """They go on with another address. Those that do not take the default route stay as they are."""
    with ExitStack() as stack:
        world, neighbour, first, second = (
            stack.enter_context(open_socket(namespace, version, socket.SOCK_DGRAM))
            for namespace in (lab.world, lab.routers[0], *[lab.machine.container()] * 2)
        )
        world.bind((WORLD[version], 0))
        neighbour.bind((GATEWAYS[version][0], 0))
        before, after = ADDRESSES[version]
        assert exchange(first, world, world.getsockname()[:2]) == before
        assert exchange(second, neighbour, neighbour.getsockname()[:2]) == before
        assert count_flows(lab, before) == 2
        lab.silence(0)
        line = watched.wait_for(say(version, 1, "is active now"))
        assert line.endswith("1 connection through eth0 forgotten")
        assert count_flows(lab, before) == 1
        # Not only the second packet: the kernel drops the first one of a connection that it finds elsewhere.
        assert exchange(first, world, world.getsockname()[:2]) == after
        lab.revive(0)
        watched.wait_for(say(version, 0, "is active now"))
        assert exchange(second, neighbour, neighbour.getsockname()[:2]) == before
        assert exchange(first, world, world.getsockname()[:2]) == before


@pytest.mark.long
@versions
def test_masqueraded_stream_ends(lab: RouterLab, watched: Watched, version: int) -> None:
    """Its peer knows the old address only, and says so at once: the connection does not hang."""
    with (
        open_socket(lab.world, version, socket.SOCK_STREAM) as listener,
        open_socket(lab.machine.container(), version, socket.SOCK_STREAM) as talker,
    ):
        listener.bind((WORLD[version], 0))
        listener.listen()
        talker.connect(listener.getsockname()[:2])
        accepted, _ = listener.accept()
        with accepted:
            lab.silence(0)
            watched.wait_for(say(version, 1, "is active now"))
            talker.sendall(b"ping")
            with pytest.raises(ConnectionResetError):
                talker.recv(4)


@pytest.mark.long
def test_two_routers_on_one_link(lab: RouterLab) -> None:
    """Connections keep their address, and go on."""
    lab.machine.add(lab.config)
    first, second = lab.share_link()
    lab.write(*({"gateway": one, "dev": "lan", "metric": int(one[-1])} for one in (first, second)))
    with (
        lab.watch() as watched,
        open_socket(lab.world, 4, socket.SOCK_DGRAM) as world,
        open_socket(lab.machine.container(), 4, socket.SOCK_DGRAM) as client,
    ):
        world.bind((WORLD[4], 0))
        lab.wait_until_routed(watched)
        assert exchange(client, world, world.getsockname()[:2]) == ADDRESSES[4][0]
        lab.silence(0)
        line = watched.wait_for(f"{second} dev lan is active now")
        assert "forgotten" not in line
        # The world learns of the router's death by other means.
        lab.world.run("ip", "route", "replace", PREFIXES[4][0] + "0/24", "via", "10.99.1.1")
        assert exchange(client, world, world.getsockname()[:2]) == ADDRESSES[4][0]
