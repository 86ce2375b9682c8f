"""Hosts that do not hear each other for a while: what they go on with, and that they need nobody after it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from netns.overlay_containers import AttachedContainers, containers_of
from netns.overlay_lab import DUAL_STACK, SUBNETS, OverlayHost, OverlayLab, wait_until
from support.namespaces import Namespace
from support.pings import Pings
from support.suite import Suite

pytestmark = pytest.mark.long


@contextmanager
def parted(lab: OverlayLab, *hosts: OverlayHost) -> Iterator[None]:
    """Have no frame pass between these hosts, while all others hear them."""
    set_port = ("bridge", "link", "set", "dev")
    for host in hosts:
        lab.switch.run(*set_port, f"port{host.number}", "isolated", "on")
        for other in hosts:
            # As after a longer time: the kernel asks for the other host's MAC, and gets no answer.
            host.namespace.run("ip", "neighbour", "flush", "to", other.address, "dev", "eth0")
    yield
    for host in hosts:
        lab.switch.run(*set_port, f"port{host.number}", "isolated", "off")


@contextmanager
def cut_off(lab: OverlayLab, host: OverlayHost) -> Iterator[None]:
    """Have nobody hear a host, whose own link stays up."""
    lab.switch.run("ip", "link", "set", f"port{host.number}", "nomaster")
    yield
    lab.switch.run("ip", "link", "set", f"port{host.number}", "master", "switch")


def reaches(container: Namespace, address: str) -> bool:
    """Return whether a ping is answered."""
    try:
        container.run("ping", "-q", "-c1", "-W1", address)
    except AssertionError:
        return False
    return True


def attach_each(hosts: list[AttachedContainers]) -> tuple[list[Namespace], list[list[str]]]:
    """Attach a container to each host; return them, and the addresses of each."""
    containers, addresses = [], []
    for host in hosts:
        containers.append(host.attach("old")[0])
        ips = host.result(host.overlay, "old")["ips"]
        addresses.append([ip["address"].partition("/")[0] for ip in ips])
    return containers, addresses


def test_two_hosts_are_parted(suite: Suite, tmp_path: Path) -> None:
    """Both still reach etcd and the third host, so that only the packets between the two are lost."""
    with OverlayLab(tmp_path, network=DUAL_STACK) as lab, containers_of(suite, lab, tmp_path) as machines:
        lab.start()
        for host in lab.hosts:
            wait_until(lambda: host.count_routes() == 4, host.name)  # noqa: B023
        _, second, third = lab.hosts
        containers, addresses = attach_each(machines)
        for address in addresses[2]:
            wait_until(lambda: reaches(containers[1], address), address)  # noqa: B023
        entries = [host.list_entries() for host in lab.hosts]
        with ExitStack() as stack:
            pings = [
                stack.enter_context(Pings(containers[0], address)) for address in addresses[1] + addresses[2]
            ]
            with parted(lab, second, third):
                assert not any(reaches(containers[1], address) for address in addresses[2])
                assert not any(reaches(containers[2], address) for address in addresses[1])
                # Their agents go on following etcd, and take nothing away.
                lab.join_by_hand("10.42.200.0")
                for host in lab.hosts:
                    wait_until(lambda: host.has_route("10.42.200.0"), host.name)  # noqa: B023
                assert all(
                    before < host.list_entries() for host, before in zip(lab.hosts, entries, strict=True)
                )
                lab.etcd.ctl("del", f"{SUBNETS}/10.42.200.0-24")
                for host, before in zip(lab.hosts, entries, strict=True):
                    wait_until(lambda: host.list_entries() == before, host.name)  # noqa: B023
            for address in addresses[2]:
                wait_until(lambda: reaches(containers[1], address), address, 5)  # noqa: B023
        assert [one.lost for one in pings] == [0] * 4
        assert [host.list_entries() for host in lab.hosts] == entries
        assert all(host.read_state()["repaired"] == 0 for host in lab.hosts)


@pytest.mark.parametrize("seconds", [86400, 5], ids=["lease goes on", "lease expires"])
def test_a_host_is_cut_off_from_all_others(suite: Suite, tmp_path: Path, seconds: int) -> None:
    """From etcd, too; its containers keep each other, and what it missed it gets once it is back."""
    with (
        OverlayLab(tmp_path, leaseSeconds=seconds) as lab,
        containers_of(suite, lab, tmp_path) as machines,
    ):
        lab.start()
        first, second, third = lab.hosts
        containers, addresses = attach_each(machines)
        keys, entries = lab.list_keys(), second.list_entries()
        with Pings(containers[0], addresses[2][0]) as others, Pings(second.namespace, addresses[1][0]) as own:
            with cut_off(lab, second):
                lab.join_by_hand("10.42.200.0")
                wait_until(lambda: "cannot be reached" in second.read_log(), "the partition", 30)
                for host in (first, third):
                    if seconds == 5:
                        wait_until(lambda: not host.routes_to(second), "the lease's end", 30)  # noqa: B023
                    assert host.has_route("10.42.200.0")
                    assert host.routes_to(second) == (seconds != 5)
                new, _ = machines[1].attach("new")
                assert reaches(new, addresses[1][0])
                assert not reaches(new, addresses[0][0])
                assert second.list_entries() == entries
            wait_until(lambda: second.has_route("10.42.200.0"), "what it missed", 30)
            lab.wait_until_joined()
            for container in (containers[0], containers[2]):
                wait_until(lambda: reaches(container, addresses[1][0]), "it from another", 5)  # noqa: B023
            assert reaches(new, addresses[0][0])
        assert (others.lost, own.lost) == (0, 0)
        assert entries < second.list_entries()
        lab.etcd.ctl("del", f"{SUBNETS}/10.42.200.0-24")
        assert lab.list_keys() == keys
