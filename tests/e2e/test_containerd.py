"""containerd through its client: ADD with a path in /proc, DEL with none, after the container's end.

And as kubelet uses it, whose port mappings and limits have capitalised keys, and DEL comes twice.
"""

from pathlib import Path

import pytest

from e2e.containerd import CRI, Containerd
from e2e.cri import Kubelet
from e2e.image import make_archive
from e2e.machine import HOST, OUTSIDE, Machine
from support.published import reaches
from support.throughput import MBIT, measure

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


@pytest.fixture
def kubelet(machine: Machine, tmp_path: Path) -> Kubelet:
    make_archive(tmp_path / "pause.tar", command=("sleep", "600"))
    Containerd(machine, tmp_path / "pause.tar", CRI)
    return Kubelet(machine)


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
def test_attaches_containers(machine: Machine, containerd: Containerd, version: str) -> None:
    machine.network_write("net", *PLUGINS, version=version)
    machine.serve("outside")
    clients = []
    # One after the other, for their addresses.
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
    machine.network_write("net", *PLUGINS)
    clients = [containerd.start_container(f"c{i}") for i in range(6)]
    for i in range(6):
        machine.wait_for_server(f"10.85.0.{i + 2}")
    for i in range(6):
        containerd.kill_container(f"c{i}")
    for client in clients:
        client.wait(20)


def test_publishes_ports_of_pods_and_limits_them(machine: Machine, kubelet: Kubelet) -> None:
    machine.network_write(
        "net",
        PLUGINS[0],
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        PLUGINS[1] | {"ingressPolicy": "same-bridge"},
        {"type": "tuning", "mtu": 1400},
    )
    ports = [("tcp", 80, 8080, ""), ("udp", 53, 5353, ""), ("tcp", 81, 8081, HOST[0])]
    limits = {"kubernetes.io/ingress-bandwidth": "20M", "kubernetes.io/egress-bandwidth": "10M"}
    pod = kubelet.run_pod("web", [*ports, ("tcp", 5201, 5201, "")], limits)
    outside, inside = machine.namespace("outside"), machine.namespace(kubelet.netns(pod))
    for version, own, host, client in (
        (4, "10.85.0.2", HOST[0], OUTSIDE[0]),
        (6, "fd85::2", HOST[1], OUTSIDE[1]),
    ):
        assert reaches(inside, (own, 80), outside, (host, 8080)) == client
        assert reaches(inside, (own, 53), outside, (host, 5353), "udp") == client
        found = reaches(inside, (own, 81), outside, (host, 8081), patience=1)
        assert found == (client if version == 4 else "")
    assert 0.9 <= measure(outside, inside, HOST[0], 20 * MBIT) <= 1.1
    assert 0.9 <= measure(inside, outside, OUTSIDE[0], 10 * MBIT) <= 1.1
    kubelet.remove_pod(pod)
    assert machine.leftovers() == []
