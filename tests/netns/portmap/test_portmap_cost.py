"""shibafu-portmap: what published ports cost a packet, by the rules that the kernel looks at for it."""

import os
from collections.abc import Callable

import pytest

from bench.nftrace import PAYLOAD, trace_packet
from netns.portmap.places import INSIDE, families
from support.machine import SYSTEM_PATH, Config
from support.published import UDP, Publisher, publish
from support.traffic import OUTSIDE, UPLINK, Outside, open_socket

# The last one that is published, and where it leads.
LAST, TARGET = 9999, 5353


def runs(count: int) -> list[Config]:
    """Return ports that follow each other, as the container's do."""
    first = LAST - count + 1
    return [publish(first + i, TARGET - count + 1 + i, "udp") for i in range(count)]


def singles(count: int) -> list[Config]:
    """Return ports with gaps between them, all of which lead to one of the container's."""
    return [publish(LAST - 2 * i, TARGET, "udp") for i in range(count)]


def scattered(count: int) -> list[Config]:
    """Return ports with gaps between them, each of which leads to another one of the container's."""
    return [publish(LAST - 2 * i, TARGET - i, "udp") for i in range(count)]


def count_rules(publisher: Publisher, outside: Outside, version: int) -> tuple[int, int]:
    """Return how many rules the first packet to the last port meets, and how many the second."""
    machine = publisher.machine
    with (
        open_socket(machine.container(), version, UDP) as server,
        open_socket(outside.namespace, version, UDP) as client,
    ):
        server.bind((INSIDE[version], TARGET))
        client.bind((OUTSIDE[version], 0))

        def send() -> None:
            client.sendto(bytes(PAYLOAD), (UPLINK[version], LAST))
            assert len(server.recvfrom(PAYLOAD)[0]) == PAYLOAD

        with machine.host.enter():
            first, second = (len(trace_packet(OUTSIDE[version], send)) for _ in range(2))
        return first, second


@families
@pytest.mark.parametrize("calc", [runs, singles, pytest.param(scattered, marks=pytest.mark.long)])
def test_packets_meet_no_more_rules_for_more_ports(
    publisher: Publisher, config: Config, outside: Outside, version: int, calc: Callable[[int], list[Config]]
) -> None:
    """Only iptables has more rules, and only for a connection's first packet: 15 single ports share one."""
    machine = publisher.machine
    if machine.path != SYSTEM_PATH and "legacy" in os.readlink(machine.path.partition(":")[0] + "/iptables"):
        pytest.skip("the kernel traces packets through nf_tables only")
    if calc is scattered and publisher.backend == "nftables":
        pytest.skip("a map does not ask where ports lead")
    result = machine.add(config)
    met = {}
    for count in (1, 100, 1000):
        publisher.call("ADD", *calc(count), previous=result)
        met[count] = count_rules(publisher, outside, version)
        publisher.call("DEL")
    (first, second), *others = met.values()
    assert 0 < second < first
    assert all(found == second for _, found in others)
    shared = {"singles": 15, "scattered": 1}.get(calc.__name__, 1000)
    if publisher.backend == "nftables":
        shared = 1000
    assert {count: found for count, (found, _) in met.items()} == {
        count: first + (count - 1) // shared for count in met
    }
