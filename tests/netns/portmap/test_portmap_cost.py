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
@pytest.mark.parametrize("calc", [runs, singles])
def test_packets_meet_no_more_rules_for_more_ports(
    publisher: Publisher, config: Config, outside: Outside, version: int, calc: Callable[[int], list[Config]]
) -> None:
    """Only iptables has a rule for each port that is in no run, and only for a connection's first packet."""
    machine = publisher.machine
    if machine.path != SYSTEM_PATH and "legacy" in os.readlink(machine.path.partition(":")[0] + "/iptables"):
        pytest.skip("the kernel traces packets through nf_tables only")
    result = machine.add(config)
    met = {}
    for count in (1, 100, 1000):
        publisher.call("ADD", *calc(count), previous=result)
        met[count] = count_rules(publisher, outside, version)
        publisher.call("DEL")
    (first, second), *others = met.values()
    assert 0 < second < first
    assert all(found == second for _, found in others)
    each = 1 if publisher.backend == "iptables" and calc is singles else 0
    assert {count: found for count, (found, _) in met.items()} == {
        count: first + each * (count - 1) for count in met
    }
