"""Podman with its CNI backend: it makes the networks' configurations itself and names `bridge` in them."""

import json
from pathlib import Path

import pytest

from e2e.image import NAME
from e2e.machine import HOST, OUTSIDE, Machine
from e2e.podman import Podman
from support.published import reaches
from support.throughput import MBIT, measure


@pytest.fixture
def podman(machine: Machine, image: Path) -> Podman:
    return Podman(machine, image)


def test_attaches_containers_to_a_dual_stack_network(machine: Machine, podman: Podman) -> None:
    podman.run("network", "create", "--ipv6", "--subnet=10.80.0.0/24", "--subnet=fd80::/64", "net")
    machine.serve("outside")
    podman.start_container("c1", "--network=net")
    podman.start_container("c2", "--network=net")
    assert len(machine.records()) == 2  # it is ours that was called

    for address, own in (("10.80.0.3", "10.80.0.2"), ("fd80::3", "fd80::2")):
        assert podman.fetch_seen_address(address, "c1") == own
        podman.run("exec", "c1", "ping", "-c1", "-W3", address)
    assert podman.fetch_seen_address(OUTSIDE[0], "c1") == HOST[0]
    assert podman.fetch_seen_address(OUTSIDE[1], "c1") == HOST[1]
    podman.remove_container("c1", "c2")
    assert machine.leftovers() == []
    podman.run("network", "rm", "net")


def test_gives_the_addresses_that_are_asked_for(machine: Machine, podman: Podman) -> None:
    podman.run("network", "create", "--ipv6", "--subnet=10.80.0.0/24", "--subnet=fd80::/64", "net")
    mac = "02:00:5e:10:00:07"
    podman.start_container("c1", "--network=net", "--ip=10.80.0.77", f"--mac-address={mac}")
    podman.start_container("c2", "--network=net:ip=10.80.0.78,ip6=fd80::78")
    first, second = (podman.networks(name)["net"] for name in ("c1", "c2"))
    assert (first["IPAddress"], first["MacAddress"]) == ("10.80.0.77", mac)
    assert (second["IPAddress"], second["GlobalIPv6Address"]) == ("10.80.0.78", "fd80::78")
    assert podman.fetch_seen_address("10.80.0.78", "c1") == "10.80.0.77"
    leased = {Path(lease).name for lease in machine.leases()}
    assert leased == {"10.80.0.77", "10.80.0.78", "fd80::2", "fd80::78"}
    podman.remove_container("c1", "c2")


def test_publishes_ports(machine: Machine, podman: Podman) -> None:
    podman.run("network", "create", "--subnet=10.80.0.0/24", "net")
    podman.start_container("c1", "--network=net", "--publish=8080:80")
    assert machine.fetch_seen_address(HOST[0], "outside", port=8080) == OUTSIDE[0]
    assert machine.fetch_seen_address("127.0.0.1", port=8080) == "10.80.0.1"
    assert podman.fetch_seen_address(HOST[0], "c1", port=8080) == "10.80.0.1"
    podman.remove_container("c1")


def test_publishes_ranges_datagrams_and_at_one_address(machine: Machine, podman: Podman) -> None:
    podman.run("network", "create", "--ipv6", "--subnet=10.80.0.0/24", "--subnet=fd80::/64", "net")
    ports = ("9000-9002:80-82", "5353:53/udp", "127.0.0.1:8081:80", f"{HOST[0]}:8082:80", "[::]:8083:80")
    podman.start_container("c1", "--network=net", *(f"--publish={port}" for port in ports))
    outside, host = machine.namespace("outside"), machine.namespace()
    container = machine.namespace(podman.netns("c1"))
    inside = {
        4: podman.networks("c1")["net"]["IPAddress"],
        6: podman.networks("c1")["net"]["GlobalIPv6Address"],
    }
    for version, at, own in ((4, HOST[0], OUTSIDE[0]), (6, HOST[1], OUTSIDE[1])):
        assert machine.fetch_seen_address(at, "outside", port=9000) == own
        assert reaches(container, (inside[version], 82), outside, (at, 9002)) == own
        assert reaches(container, (inside[version], 53), outside, (at, 5353), "udp") == own
    assert machine.fetch_seen_address(HOST[0], "outside", port=8082) == OUTSIDE[0]
    assert machine.fetch_seen_address(HOST[1], "outside", port=8083) == OUTSIDE[1]
    assert machine.try_fetch_seen_address(HOST[1], "outside", port=8082) is None
    assert machine.try_fetch_seen_address(HOST[0], "outside", port=8083) is None
    assert machine.fetch_seen_address("127.0.0.1", port=8081) == "10.80.0.1"
    assert machine.try_fetch_seen_address(HOST[0], "outside", port=8081) is None
    podman.remove_container("c1")
    assert reaches(host, ("127.0.0.1", 9000), host, ("127.0.0.1", 9000)) == "127.0.0.1"


def test_takes_a_chain_of_one_s_own(machine: Machine, podman: Podman) -> None:
    """Podman has no option for limits and settings of interfaces: they are in the network."""
    ranges = [[{"subnet": "10.80.0.0/24"}], [{"subnet": "fd80::/64"}]]
    limits = {"ingressRate": 20 * MBIT, "ingressBurst": MBIT, "egressRate": 10 * MBIT, "egressBurst": MBIT}
    machine.network_write(
        "net",
        {
            "type": "bridge",
            "bridge": "cni0",
            "isDefaultGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "ranges": ranges},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "bandwidth", **limits},
        {"type": "firewall", "ingressPolicy": "same-bridge"},
        {"type": "tuning", "mtu": 1400, "sysctl": {"net.core.somaxconn": "500"}},
        version="0.4.0",
    )
    machine.serve("outside")
    podman.start_container("c1", "--network=net", "--publish=8080:80", "--publish=5201:5201")
    assert machine.fetch_seen_address(HOST[0], "outside", port=8080) == OUTSIDE[0]
    assert podman.fetch_seen_address(HOST[0], "c1", port=8080) == "10.80.0.1"
    assert podman.fetch_seen_address(OUTSIDE[1], "c1") == HOST[1]
    (link,) = json.loads(machine.run("ip", "-json", "link", "show", "eth0", netns=podman.netns("c1")))
    assert link["mtu"] == 1400
    assert podman.run("exec", "c1", "cat", "/proc/sys/net/core/somaxconn") == "500\n"
    outside, container = machine.namespace("outside"), machine.namespace(podman.netns("c1"))
    assert 0.9 <= measure(container, outside, OUTSIDE[0], 10 * MBIT) <= 1.1
    assert 0.9 <= measure(outside, container, HOST[0], 20 * MBIT) <= 1.1
    podman.remove_container("c1")


def test_stops_and_starts_containers(machine: Machine, podman: Podman) -> None:
    podman.run("network", "create", "--subnet=10.80.0.0/24", "net")
    podman.start_container("c1", "--network=net", "--publish=8080:80")
    for _ in range(2):
        podman.run("stop", "--time=1", "c1")
        assert machine.leftovers() == []
        podman.run("start", "c1")
        machine.wait_for_server(HOST[0], "outside", port=8080)
    podman.remove_container("c1")


def test_cleans_up_after_a_container_that_ends_by_itself(machine: Machine, podman: Podman) -> None:
    podman.run("network", "create", "--subnet=10.80.0.0/24", "net")
    options = (f"--cgroup-parent={machine.cgroup}", "--cap-add=NET_RAW", "--network=net")
    podman.run("run", "--rm", *options, NAME, "ping", "-c1", "-W3", "10.80.0.1")


def test_attaches_a_container_to_two_networks(machine: Machine, podman: Podman) -> None:
    for name, subnet in (("front", "10.80.0.0/24"), ("back", "10.81.0.0/24")):
        podman.run("network", "create", f"--subnet={subnet}", name)
    podman.start_container("c1", "--network=front", "--network=back")
    podman.start_container("c2", "--network=front")
    podman.start_container("c3", "--network=back")
    addresses = {
        link["ifname"]: link["addr_info"][0]["local"]
        for link in json.loads(machine.run("ip", "-json", "-4", "addr", netns=podman.netns("c1")))
    }
    assert set(addresses) == {"lo", "eth0", "eth1"}
    for name, network in (("c2", "front"), ("c3", "back")):
        own = podman.networks("c1")[network]["IPAddress"]
        assert podman.fetch_seen_address(own, name) == podman.networks(name)[network]["IPAddress"]

    podman.run("network", "disconnect", "back", "c1")
    assert podman.fetch_seen_address(podman.networks("c1")["front"]["IPAddress"], "c2")
    podman.run("network", "connect", "back", "c1")
    assert podman.fetch_seen_address(podman.networks("c1")["back"]["IPAddress"], "c3")
    podman.remove_container("c1", "c2", "c3")
    podman.run("network", "rm", "front", "back")


def test_heals_the_network_of_running_containers(machine: Machine, podman: Podman) -> None:
    """A flushed firewall is repaired by `podman network reload`, or by the next container."""
    podman.run("network", "create", "--subnet=10.80.0.0/24", "net")
    machine.serve("outside")
    podman.start_container("c1", "--network=net")
    machine.run("iptables", "-t", "nat", "-F")
    podman.run("network", "reload", "c1")
    assert podman.fetch_seen_address(OUTSIDE[0], "c1") == HOST[0]
    machine.run("iptables", "-t", "nat", "-F")
    podman.start_container("c2", "--network=net")
    assert podman.fetch_seen_address(OUTSIDE[0], "c1") == HOST[0]
    podman.remove_container("c1", "c2")
