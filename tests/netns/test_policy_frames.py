"""Frames that a container with CAP_NET_RAW writes itself, to get round policies."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from netns.policy_cases import match, policy
from netns.policy_machine import apply, labelled
from support.frames import calc_datagram, calc_frame, calc_neighbour
from support.machine import Config, Machine
from support.namespaces import Namespace
from support.traffic import can_reach, open_socket

_FOREIGN = {4: "10.10.0.99", 6: "fd00:10::99"}
# The EtherTypes of tags, one after the other.
_TAGS = {"8021q": (0x8100,), "8021ad": (0x88A8,), "two": (0x8100, 0x88A8)}


class Wire:
    """Containers of one network, and what one of them writes to the link of another."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.config: Config = machine.config("10.10.0.0/24", "fd00:10::/64")
        self.addresses: dict[str, dict[int, str]] = {}

    def attach(self, *names: str) -> None:
        for name in names:
            result = self.machine.add(labelled(self.config, app=name), name)
            addresses = [ip["address"].partition("/")[0] for ip in result["ips"]]
            self.addresses[name] = {6 if ":" in one else 4: one for one in addresses}

    def find_local(self, name: str) -> str:
        """Return a container's link-local address."""
        container = self.machine.container(name)
        listed = container.run("ip", "-o", "-6", "addr", "show", "dev", "eth0", "scope", "link")
        return listed.split()[3].partition("/")[0]

    def passes(
        self, ends: tuple[str, str], version: int, tags: tuple[int, ...], source: str = "", to: str = ""
    ) -> bool:
        """Return whether a datagram from one container arrives at another.

        Args:
            ends: the containers.
            version: of IP.
            tags: the frame's.
            source: the address to send from; empty for the sender's own.
            to: the hardware address to send to; empty for the receiver's own.
        """
        sender, receiver = map(self.machine.container, ends)
        own, destination = (self.addresses[name][version] for name in ends)
        with (
            open_socket(receiver, version, socket.SOCK_DGRAM, patience=0.25) as listener,
            sender.enter(),
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire,
        ):
            listener.bind(("", 0))
            wire.bind(("eth0", 0))
            packet = calc_datagram(source or own, destination, listener.getsockname()[1])
            mac = bytes.fromhex((to or find_mac(self.machine, receiver, "eth0")).replace(":", ""))
            for _ in range(2):
                wire.send(calc_frame(mac, wire.getsockname()[4], packet, tags))
                with suppress(TimeoutError):
                    return bool(listener.recv(16))
        return False


def find_mac(machine: Machine, namespace: Namespace, link: str) -> str:
    return str(machine.links(namespace)[link]["address"])


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
