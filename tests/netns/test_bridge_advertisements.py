"""A container that poses as a router: what it says reaches neither its neighbours nor the host."""

import socket
import time
from struct import pack

import pytest

from netns.namespaces import Namespace
from support.machine import Machine

_ALL_NODES = bytes.fromhex("333300000001")
_SOURCE = bytes.fromhex("fe80000000000000000000000000beef")
_GROUP = bytes.fromhex("ff020000000000000000000000000001")
PREFIX = "2001:db8:bad::"


def calc_advertisement(mac: bytes) -> bytes:
    """Return the frame of a router advertisement: a default router, and a prefix to make addresses of."""
    prefix = socket.inet_pton(socket.AF_INET6, PREFIX)
    option = pack("!BBBBIII16s", 3, 4, 64, 0xC0, 86400, 86400, 0, prefix)
    message = pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + option
    pseudo = _SOURCE + _GROUP + pack("!II", len(message), 58) + message
    total = sum(int.from_bytes(pseudo[i : i + 2], "big") for i in range(0, len(pseudo), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    message = message[:2] + pack("!H", ~total & 0xFFFF) + message[4:]
    header = pack("!IHBB", 6 << 28, len(message), 58, 255) + _SOURCE + _GROUP
    return _ALL_NODES + mac + b"\x86\xdd" + header + message


def advertise(machine: Machine, attacker: Namespace) -> None:
    """Send it as root in the container can, with a raw socket."""
    mac = bytes.fromhex(machine.links(attacker)["eth0"]["address"].replace(":", ""))
    with attacker.enter(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))
        for _ in range(3):
            raw.send(calc_advertisement(mac))
    time.sleep(0.5)


def is_deceived(namespace: Namespace) -> bool:
    found = namespace.run("ip", "-6", "addr") + namespace.run("ip", "-6", "route")
    return PREFIX[:-1] in found or "proto ra" in found


@pytest.mark.parametrize("subnets", [("10.10.0.0/24",), ("fd00:10::/64",), ("10.10.0.0/24", "fd00:10::/64")])
@pytest.mark.parametrize("keys", [{}, {"keepIPv6": True}])
@pytest.mark.parametrize("gateway", [True, None])
def test_nobody_believes_it(
    machine: Machine, subnets: tuple[str, ...], keys: dict[str, bool], gateway: bool | None
) -> None:
    config = machine.config(*subnets, isDefaultGateway=gateway, ipMasq=gateway, **keys)
    for name in ("attacker", "neighbour"):
        machine.add(config, name)
    advertise(machine, machine.container("attacker"))
    assert not is_deceived(machine.container("neighbour"))
    assert not is_deceived(machine.host)
    machine.check(config, "neighbour")


def test_who_wants_to_can_believe_it(machine: Machine) -> None:
    """Also proof that what the other test sends is an advertisement."""
    config = machine.config(acceptRA=True)
    for name in ("attacker", "neighbour"):
        machine.add(config, name)
    time.sleep(0.5)
    advertise(machine, machine.container("attacker"))
    assert is_deceived(machine.container("neighbour"))
    assert not is_deceived(machine.host)
    machine.check(config, "neighbour")


@pytest.mark.parametrize(("keys", "has_ipv6"), [({}, False), ({"keepIPv6": True}, True)])
def test_ipv6_without_addresses_of_the_network(
    machine: Machine, keys: dict[str, bool], has_ipv6: bool
) -> None:
    machine.add(machine.config(**keys))
    machine.add(machine.config("fd00:20::/64", name="six", bridge="br6"), ifname="eth1")
    links = machine.links(machine.container())
    assert any(address["family"] == "inet6" for address in links["eth0"]["addr_info"]) == has_ipv6
    assert "fd00:20::2/64" in machine.addresses("eth1", machine.container())
