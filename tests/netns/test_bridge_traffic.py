"""What containers can reach, and by whose address."""

import socket
from collections.abc import Iterator

import pytest

from support.machine import Config, Machine
from support.namespaces import Namespace
from support.traffic import OUTSIDE, UPLINK, Outside, ask_source, can_reach

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
ETH_P_ARP = 0x0806  # linux/if_ether.h
SUBNETS = {4: "10.10.0.0/24", 6: "fd00:10::/64"}
GATEWAY = {4: "10.10.0.1", 6: "fd00:10::1"}
FIRST, SECOND = {4: "10.10.0.2", 6: "fd00:10::2"}, {4: "10.10.0.3", 6: "fd00:10::3"}

families = pytest.mark.parametrize("version", [4, 6])
protocols = pytest.mark.parametrize("kind", [TCP, UDP])


@pytest.fixture
def config(machine: Machine) -> Config:
    """A dual-stack NAT network."""
    return machine.config(*SUBNETS.values())


@pytest.fixture
def containers(machine: Machine, config: Config) -> Iterator[tuple[Namespace, Namespace]]:
    """Two containers on it."""
    machine.add(config, "c1")
    machine.add(config, "c2")
    yield machine.container("c1"), machine.container("c2")
    assert machine.call("CHECK", config, "c1").status == 0


@families
@protocols
def test_container_to_container(
    containers: tuple[Namespace, Namespace], version: int, kind: socket.SocketKind
) -> None:
    first, second = containers
    assert ask_source(first, FIRST[version], second, kind) == SECOND[version]


@families
@protocols
def test_container_to_gateway_and_back(
    machine: Machine, containers: tuple[Namespace, Namespace], version: int, kind: socket.SocketKind
) -> None:
    first, second = containers
    assert ask_source(machine.host, GATEWAY[version], first, kind) == FIRST[version]
    assert ask_source(second, SECOND[version], machine.host, kind) == GATEWAY[version]


@families
@protocols
def test_container_to_the_outside_by_the_hosts_address(
    containers: tuple[Namespace, Namespace], outside: Outside, version: int, kind: socket.SocketKind
) -> None:
    for container in containers:
        assert ask_source(outside.namespace, OUTSIDE[version], container, kind) == UPLINK[version]


@families
def test_ping(containers: tuple[Namespace, Namespace], outside: Outside, version: int) -> None:
    for target in (GATEWAY[version], SECOND[version], OUTSIDE[version]):
        containers[0].run("ping", "-c", "1", "-W", "2", target)


@families
def test_the_first_packet_after_add_is_not_lost(machine: Machine, config: Config, version: int) -> None:
    # Not towards it either: the kernel puts off the route to a new IPv6 address of its own.
    machine.add(config, "c1")
    first = machine.container("c1")
    for number in range(2, 6):
        ips = machine.add(config, f"c{number}")["ips"]
        address = ips[{4: 0, 6: 1}[version]]["address"].partition("/")[0]
        assert can_reach(machine.container(f"c{number}"), address, first)
        assert can_reach(first, FIRST[version], machine.container(f"c{number}"))


@families
def test_without_masquerading_the_outside_sees_the_container(
    machine: Machine, outside: Outside, config: Config, version: int
) -> None:
    machine.add(config | {"ipMasq": False})
    outside.namespace.run("ip", "route", "add", SUBNETS[version], "via", UPLINK[version])
    seen = ask_source(outside.namespace, OUTSIDE[version], machine.container(), UDP)
    assert seen == FIRST[version]


@families
def test_networks_reach_each_other_by_the_gateways_address(
    machine: Machine, containers: tuple[Namespace, Namespace], version: int
) -> None:
    machine.add(machine.config("10.20.0.0/24", "fd00:20::/64", name="other", bridge="br1"), "c3")
    target = {4: "10.20.0.2", 6: "fd00:20::2"}[version]
    gateway = {4: "10.20.0.1", 6: "fd00:20::1"}[version]
    assert containers
    assert ask_source(machine.container("c3"), target, machine.container("c1"), UDP) == gateway


@families
@pytest.mark.parametrize("netfilter", ["0", "1"])
def test_where_forwarding_is_dropped_by_default(
    machine: Machine,
    containers: tuple[Namespace, Namespace],
    outside: Outside,
    version: int,
    netfilter: str,
) -> None:
    # Docker sets this policy; and bridged frames pass it too where br_netfilter is on.
    for switch in ("iptables", "ip6tables"):
        machine.host.run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{switch}={netfilter}")
    machine.iptables("-P", "FORWARD", "DROP", family="iptables" if version == 4 else "ip6tables")
    first, second = containers
    assert ask_source(outside.namespace, OUTSIDE[version], first, TCP) == UPLINK[version]
    assert ask_source(first, FIRST[version], second, TCP) == SECOND[version]
    assert ask_source(machine.host, GATEWAY[version], second, TCP) == SECOND[version]


@families
def test_what_nobody_asked_for_is_not_let_in(
    machine: Machine, containers: tuple[Namespace, Namespace], outside: Outside, version: int
) -> None:
    # The rules accept answers, and not that the outside opens connections.
    machine.iptables("-P", "FORWARD", "DROP", family="iptables" if version == 4 else "ip6tables")
    outside.namespace.run("ip", "route", "add", SUBNETS[version], "via", UPLINK[version])
    assert not can_reach(containers[0], FIRST[version], outside.namespace)


def test_a_network_of_layer_2_connects_its_containers(machine: Machine) -> None:
    config = machine.layer2()
    for number in (1, 2):
        machine.add(config, f"c{number}")
        container = machine.container(f"c{number}")
        container.run("ip", "addr", "add", f"192.168.7.{number}/24", "dev", "eth0")
    second = machine.container("c2")
    assert ask_source(machine.container("c1"), "192.168.7.1", second, TCP) == "192.168.7.2"


def test_isolated_ports_reach_the_gateway_only(machine: Machine) -> None:
    config = machine.config(portIsolation=True)
    machine.add(config, "c1")
    machine.add(config, "c2")
    first, second = machine.container("c1"), machine.container("c2")
    assert not can_reach(first, FIRST[4], second)
    assert ask_source(machine.host, GATEWAY[4], second, TCP) == SECOND[4]


@families
@pytest.mark.parametrize("masquerade", [True, False])
def test_isolated_ports_are_about_frames_and_a_rule_closes_the_way_by_the_router(
    machine: Machine, version: int, masquerade: bool
) -> None:
    config = machine.config(*SUBNETS.values(), portIsolation=True, ipMasq=masquerade, isolate=True)
    machine.add(config, "c1")
    machine.add(config, "c2")
    first, second = machine.container("c1"), machine.container("c2")
    assert not can_reach(first, FIRST[version], second)
    prefix = {4: 32, 6: 128}[version]
    route = ("ip", f"-{version}", "route", "add", f"{FIRST[version]}/{prefix}", "via", GATEWAY[version])
    second.run(*route)
    # With IPv6 the first datagram after the attempt above may get lost.
    assert any(can_reach(first, FIRST[version], second) for _ in range(3))
    family = "iptables" if version == 4 else "ip6tables"
    machine.iptables("-A SHIBAFU-ADMIN -i br0 -o br0 -j DROP", family=family)
    assert not can_reach(first, FIRST[version], second)


@families
def test_an_address_that_is_used_again_reaches_its_new_owner_at_once(
    machine: Machine, config: Config, version: int
) -> None:
    """Neighbours that knew the old owner's hardware address are told of the new one."""
    machine.add(config, "c1")
    machine.add(config, "c2")
    neighbour = machine.container("c2")
    for number in range(3, 6):
        old, new = f"c{number}", f"c{number + 10}"
        address = {4: "10.10.0.77", 6: "fd00:10::77"}[version]
        machine.add(config, old, CNI_ARGS=f"IgnoreUnknown=1;IP={address}")
        assert can_reach(machine.container(old), address, neighbour)
        assert can_reach(machine.container(old), address, machine.host)
        machine.delete(config, old)
        machine.add(config, new, CNI_ARGS=f"IgnoreUnknown=1;IP={address}")
        assert can_reach(machine.container(new), address, neighbour)
        assert can_reach(machine.container(new), address, machine.host)
        machine.delete(config, new)


def test_an_address_is_announced_once(machine: Machine, config: Config) -> None:
    """The bridge floods an announcement to all of its containers, each of which the call waits for."""
    machine.add(config, "c1")
    with machine.container("c1").enter():
        listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP))
    with listener:
        listener.settimeout(1)
        machine.add(config, "c2")
        announced = []
        try:
            while True:
                frame = listener.recv(100)
                sender, target = frame[28:32], frame[38:42]
                if sender == target:
                    announced.append(sender)
        except TimeoutError:
            pass
    assert announced == [socket.inet_aton(SECOND[4])]
