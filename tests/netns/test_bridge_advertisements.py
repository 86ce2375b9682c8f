"""A container that poses as a router: what it says reaches neither its neighbours nor the host."""

import socket
import time

import pytest

from support.advertisement import PREFIX, calc_advertisement
from support.machine import Machine
from support.namespaces import Namespace


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


@pytest.mark.parametrize(("keys", "metric"), [({}, 1025), ({"metric": 2000}, 2000)])
def test_router_of_a_further_network_comes_after_the_first_one(
    machine: Machine, keys: dict[str, int], metric: int
) -> None:
    """The kernel gives all default routes of advertisements the same metric, that of the first network's."""
    config = machine.config(acceptRA=True, name="further", **keys)
    machine.add(config, "attacker")
    machine.add(machine.config("fd00:20::/64", name="six", bridge="br6"))
    machine.add(config, ifname="eth1")
    time.sleep(0.5)
    advertise(machine, machine.container("attacker"))
    routes = machine.routes(machine.container(), "-6", "route", "show", "default")
    assert [(route["dev"], route["metric"]) for route in routes] == [("eth0", 1024), ("eth1", metric)]


@pytest.mark.parametrize(("keys", "has_ipv6"), [({}, False), ({"keepIPv6": True}, True)])
def test_ipv6_without_addresses_of_the_network(
    machine: Machine, keys: dict[str, bool], has_ipv6: bool
) -> None:
    machine.add(machine.config(**keys))
    machine.add(machine.config("fd00:20::/64", name="six", bridge="br6"), ifname="eth1")
    links = machine.links(machine.container())
    assert any(address["family"] == "inet6" for address in links["eth0"]["addr_info"]) == has_ipv6
    assert "fd00:20::2/64" in machine.addresses("eth1", machine.container())
