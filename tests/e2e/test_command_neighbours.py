"""The command beside Podman and cnitool: each sees and uses the networks and containers of the others."""

from pathlib import Path

import pytest

from e2e.command import Command
from e2e.libcni import CniTool
from e2e.machine import HOST, OUTSIDE, Machine
from e2e.podman import Podman


@pytest.fixture
def podman(machine: Machine, image: Path) -> Podman:
    return Podman(machine, image)


def test_podman_uses_a_network_of_the_command(machine: Machine, podman: Podman, command: Command) -> None:
    command("network create blue --subnet 10.81.0.0/24")
    machine.serve("outside")
    podman.start_container("c1", "--network=blue")
    podman.start_container("c2", "--network=blue")
    addresses = [endpoint["addresses"] for endpoint in command.endpoints("blue")]
    assert sorted(addresses) == [["10.81.0.2/24"], ["10.81.0.3/24"]]
    assert podman.fetch_seen_address("10.81.0.3", "c1") == "10.81.0.2"

    machine.run("iptables", "-t", "nat", "-F")
    machine.run("ip", "link", "del", "br-blue")
    command("network repair")
    assert podman.fetch_seen_address("10.81.0.3", "c1") == "10.81.0.2"
    assert podman.fetch_seen_address(OUTSIDE[0], "c1") == HOST[0]
    assert "2" in command("network ls").splitlines()[1].split()
    podman.remove_container("c1", "c2")
    assert command.endpoints("blue") == []
    command("network rm blue")


def test_the_command_uses_a_network_of_podman(machine: Machine, podman: Podman, command: Command) -> None:
    podman.run("network", "create", "--subnet=10.80.0.0/24", "net")
    podman.start_container("c1", "--network=net")
    (endpoint,) = command.endpoints("net")
    assert (endpoint["addresses"], endpoint["state"]) == (["10.80.0.2/24"], "up")
    machine.netns_add("web")
    command("network connect net web")
    assert machine.fetch_seen_address("10.80.0.2", "web") == "10.80.0.3"
    command("network check net")
    command("network disconnect net web")
    podman.remove_container("c1")
    assert command.endpoints("net") == []


def test_cnitool_and_the_command_call_a_container_alike(
    machine: Machine, cnitool: CniTool, command: Command
) -> None:
    command("network create blue --subnet 10.81.0.0/24")
    machine.netns_add("web", "db")
    cnitool.add("blue", "db")
    command("network connect blue /run/netns/web")
    machine.serve("db")
    assert machine.fetch_seen_address("10.81.0.2", "web") == "10.81.0.3"
    (called,) = (e["containerID"] for e in command.endpoints("blue") if e["netns"] == "/run/netns/db")
    assert called.startswith("cnitool-")
    command("network check")
    command("network disconnect blue db")
    command("network connect blue /run/netns/db")
    assert called in {endpoint["containerID"] for endpoint in command.endpoints("blue")}
    command("network rm blue --force")


def test_gc_says_which_leases_it_frees_of_whom_nothing_else_is_known(
    machine: Machine, command: Command
) -> None:
    command("network create blue --subnet 10.81.0.0/24")
    machine.netns_add("web", "db")
    for name in ("web", "db"):
        command(f"network connect blue {name}")
    machine.run("sh", "-c", "rm -r /var/lib/cni/results /run/shibafu/[0-9]*/blue")
    machine.netns_del("web")
    freed, *_ = command("network gc").splitlines()
    assert freed == "blue: freed what web eth0 had: the lease of 10.81.0.2"
    assert machine.leases() == ["/var/lib/cni/networks/blue/10.81.0.3"]
    (left, _) = command("network gc").splitlines()
    assert left == "blue: left the leases of containers that are unknown here: 10.81.0.3"
    command("network rm blue --force")
