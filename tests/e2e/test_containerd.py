"""containerd through its client: ADD with a path in /proc, DEL with none, after the container's end."""

from pathlib import Path

import pytest

from e2e.containerd import Containerd
from e2e.machine import HOST, OUTSIDE, Machine

PLUGINS = (
    {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.85.0.0/24"}], [{"subnet": "fd85::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    },
    {"type": "firewall", "backend": "iptables"},
)


@pytest.fixture
def containerd(machine: Machine, image: Path) -> Containerd:
    return Containerd(machine, image)


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
def test_attaches_containers(machine: Machine, containerd: Containerd, version: str) -> None:
    machine.network_write("net", *PLUGINS, version=version)
    machine.serve("outside")
    clients = []
    # One after the other: two of the reference's firewall at once fail when both make the chain CNI-ADMIN.
    for name, address in (("c1", "10.85.0.2"), ("c2", "10.85.0.3")):
        clients.append(containerd.start_container(name))
        machine.wait_for_server(address)
    assert len(machine.records()) == 2  # it is ours that was called

    for v4, v6, name in (("10.85.0.2", "fd85::2", "c1"), ("10.85.0.3", "fd85::3", "c2")):
        assert containerd.fetch_seen_address("10.85.0.2", name) == v4
        assert containerd.fetch_seen_address("fd85::2", name) == v6
    assert containerd.fetch_seen_address(OUTSIDE[0], "c1") == HOST[0]
    assert containerd.fetch_seen_address(OUTSIDE[1], "c1") == HOST[1]
    for client, name in zip(clients, ("c1", "c2"), strict=True):
        containerd.kill_container(name)
        client.wait(20)


def test_cleans_up_after_a_chain_that_failed(machine: Machine, containerd: Containerd) -> None:
    machine.network_write("net", PLUGINS[0], {"type": "tuning", "sysctl": {"kernel.hostname": "x"}})
    client = containerd.start_container("c1")
    said, _ = client.communicate(timeout=20)
    assert client.returncode
    assert "invalid net sysctl key" in said


def test_attaches_many_containers_at_the_same_time(machine: Machine, containerd: Containerd) -> None:
    machine.network_write("net", PLUGINS[0])
    clients = [containerd.start_container(f"c{i}") for i in range(6)]
    for i in range(6):
        machine.wait_for_server(f"10.85.0.{i + 2}")
    for i in range(6):
        containerd.kill_container(f"c{i}")
    for client in clients:
        client.wait(20)
