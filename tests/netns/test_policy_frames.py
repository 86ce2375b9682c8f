"""Frames that a container with CAP_NET_RAW writes itself, to get round policies."""

import socket
from collections.abc import Iterator

import pytest

from netns.policy_cases import match, policy
from netns.policy_machine import apply, labelled
from netns.policy_packets import Wire, find_mac
from support.frames import calc_frame, calc_neighbour
from support.machine import Machine
from support.traffic import can_reach

_FOREIGN = {4: "10.10.0.99", 6: "fd00:10::99"}
# The EtherTypes of tags, one after the other.
_TAGS = {"8021q": (0x8100,), "8021ad": (0x88A8,), "two": (0x8100, 0x88A8)}


@pytest.fixture
def wire(machine: Machine) -> Iterator[Wire]:
    yield Wire(machine)
    apply(machine)


@pytest.mark.parametrize("tags", _TAGS.values(), ids=_TAGS)
@pytest.mark.parametrize("direction", ["Ingress", "Egress"])
def test_no_tag_leads_round_policies(wire: Wire, direction: str, tags: tuple[int, ...]) -> None:
    """The kernel receives what is tagged for VLAN 0 as if it were not, but bridges do not show it."""
    wire.attach("db", "web", "other")
    ends = ("other", "db") if direction == "Ingress" else ("db", "other")
    assert [wire.passes(ends, version, tags) for version in (4, 6)] == [True, True]
    apply(wire.machine, policy([], [], match(app="db"), "default", types=[direction]))
    assert [wire.passes(ends, version, tags) for version in (4, 6)] == [False, False]
    assert [wire.passes(("web", "other"), version, tags) for version in (4, 6)] == [True, True]
    assert [wire.passes(ends[::-1], version, ()) for version in (4, 6)] == [True, True]
    wire.machine.check(labelled(wire.config, app="db"), "db")


@pytest.mark.parametrize("is_routed", [True, False])
def test_no_tag_hides_the_address_of_another(wire: Wire, is_routed: bool) -> None:
    tags = _TAGS["two"]
    wire.attach("db", "other")
    to = find_mac(wire.machine, wire.machine.host, wire.config["bridge"]) if is_routed else ""
    ends, versions = ("db", "other"), (4,) if is_routed else (4, 6)
    assert all(wire.passes(ends, version, tags, _FOREIGN[version], to) for version in versions)
    apply(wire.machine, policy([], target=match(app="db"), namespace="default"))
    assert not any(wire.passes(ends, version, tags, _FOREIGN[version], to) for version in versions)


@pytest.mark.parametrize("options", [0, 24])
@pytest.mark.parametrize("is_local", [True, False])
def test_a_neighbour_is_not_told_lies_over_ipv6(wire: Wire, is_local: bool, options: int) -> None:
    """Nor with the sender's address where that of the neighbour in question is without options."""
    wire.attach("db", "web", "other")
    db, other = map(wire.machine.container, ("db", "other"))
    source, target, destination = (wire.addresses[name][6] for name in ("db", "web", "other"))
    if is_local:
        source = wire.find_local("db")
    mac, known = find_mac(wire.machine, db, "eth0"), "02:00:00:00:00:01"

    def is_deceived() -> bool:
        other.run("ip", "neigh", "replace", target, "lladdr", known, "dev", "eth0", "nud", "stale")
        sent = bytes.fromhex(mac.replace(":", ""))
        packet = calc_neighbour(source, destination, target, sent, options)
        with db.enter(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as writer:
            writer.bind(("eth0", 0))
            writer.send(
                calc_frame(
                    bytes.fromhex(find_mac(wire.machine, other, "eth0").replace(":", "")), sent, packet
                )
            )
        return mac in other.run("ip", "neigh", "show", target)

    assert is_deceived()
    apply(wire.machine, policy([], target=match(app="db"), namespace="default"))
    assert not is_deceived()
    assert wire.passes(("db", "other"), 6, ())
    other.run("ip", "neigh", "flush", "dev", "eth0")
    db.run("ip", "neigh", "flush", "dev", "eth0")
    assert can_reach(other, destination, db)
    wire.machine.check(labelled(wire.config, app="db"), "db")


def test_the_host_leads_nobody_to_link_local_addresses(wire: Wire) -> None:
    """It forwards to them what comes from other addresses, and no policy knows them."""
    # Until its bridge has found out that nobody else has its address, it looks for no neighbours.
    wire.machine.host.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
    wire.attach("db", "other")
    host = find_mac(wire.machine, wire.machine.host, wire.config["bridge"])
    wire.addresses["db"][6] = wire.find_local("db")
    assert wire.passes(("other", "db"), 6, (), to=host)
    apply(wire.machine, policy([], target=match(app="db"), namespace="default"))
    assert not wire.passes(("other", "db"), 6, (), to=host)
    wire.machine.check(labelled(wire.config, app="db"), "db")
