"""Hosts that ask for a subnet at the same time get different ones, of both families."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from threading import Barrier

import pytest

from netns.overlay_lab import DUAL_STACK, SUBNETS
from shibafu.overlay.cluster_network import parse_cluster_network
from shibafu.overlay.errors import OverlayError
from shibafu.overlay.etcd import EtcdClient
from shibafu.overlay.messages import HeldLease
from shibafu.overlay.subnet_allocation import SubnetAllocator, SubnetTakenError
from shibafu.overlay.subnet_leases import HostVteps, SubnetLease, Vtep, format_lease_key
from support.etcd import EtcdServer
from support.namespaces import Namespace

PREFIX = "/coreos.com/network"
# Of eight subnets the first one is never given to a host.
SMALL = json.dumps(DUAL_STACK | {"Network": "10.42.0.0/21", "SubnetLen": 24, "IPv6Network": "fd42::/61"})
COUNT = 7


@pytest.fixture
def etcd(host: Namespace) -> Iterator[EtcdServer]:
    with EtcdServer(host) as server, host.enter():
        yield server


def make_allocator(etcd: EtcdServer, client: EtcdClient | None = None) -> SubnetAllocator:
    network = parse_cluster_network(SMALL)
    return SubnetAllocator(client or EtcdClient(etcd.access), PREFIX, network, 60)


def calc_vteps(number: int) -> HostVteps:
    vtep = Vtep(1, bytes((2, 0, 0, 0, 0, number)))
    address, address6 = IPv4Address(f"192.168.77.{number}"), IPv6Address(f"fd77::{number:x}")
    return HostVteps(address, address6, vtep, vtep)


class OvertakenClient(EtcdClient):
    """A client of a host that is overtaken after it has chosen its subnet, and before it asks for it.

    Args:
        etcd: where.
        keys: the last parts of those that the other host writes.
    """

    def __init__(self, etcd: EtcdServer, keys: list[str]) -> None:
        super().__init__(etcd.access)
        self._etcd = etcd
        self._keys = keys

    def grant_lease(self, seconds: int) -> int:
        value = json.dumps({"PublicIP": "192.168.77.99", "BackendType": "vxlan"})
        while self._keys:
            self._etcd.ctl("put", f"{SUBNETS}/{self._keys.pop()}", value)
        return super().grant_lease(seconds)


def test_hosts_that_start_together(host: Namespace, etcd: EtcdServer) -> None:
    """As many as there are subnets: each but one is too late several times."""
    start = Barrier(COUNT)

    def acquire(number: int) -> HeldLease:
        with host.enter():
            allocator = make_allocator(etcd)
            start.wait()
            return allocator.acquire(calc_vteps(number), None)

    with ThreadPoolExecutor(COUNT) as pool:
        leases = [held.lease for held in pool.map(acquire, range(1, COUNT + 1))]
    assert len({lease.subnet for lease in leases}) == len({lease.subnet6 for lease in leases}) == COUNT
    assert len(EtcdClient(etcd.access).list_prefix(SUBNETS).values) == COUNT
    with pytest.raises(OverlayError, match="all 7 subnets"):
        make_allocator(etcd).acquire(calc_vteps(99), None)


def test_other_hosts_are_faster(etcd: EtcdServer) -> None:
    """With all IPv4 subnets but one, but other IPv6 subnets, and so with other keys."""
    client = OvertakenClient(
        etcd, [f"10.42.{number}.0-24&fd42:0:0:9{number}::-64" for number in range(1, COUNT)]
    )
    held = make_allocator(etcd, client).acquire(calc_vteps(1), None)
    assert held.lease.subnet == IPv4Network(f"10.42.{COUNT}.0/24")
    # No lease of an attempt is left behind.
    assert "found 1 leases" in etcd.ctl("lease", "list")


def test_another_host_is_faster_when_the_own_key_is_gone(etcd: EtcdServer) -> None:
    """The subnet stays, since containers have its addresses; it is said who else has it."""
    held = make_allocator(etcd).acquire(calc_vteps(1), None)
    subnet = held.lease.subnet.network_address
    EtcdClient(etcd.access).delete(f"{SUBNETS}/{format_lease_key(held.lease.subnet, held.lease.subnet6)}")
    client = OvertakenClient(etcd, [f"{subnet}-24&fd42:0:0:99::-64"])
    with pytest.raises(SubnetTakenError) as caught:
        make_allocator(etcd, client).keep(held)
    assert caught.value.owner == "192.168.77.99"


def test_two_hosts_that_had_the_same_subnet(etcd: EtcdServer) -> None:
    """As machines that are copies of one: the state of both says that it is theirs."""
    subnet, subnet6 = IPv4Network("10.42.3.0/24"), IPv6Network("fd42:0:0:3::/64")
    first, second = (SubnetLease(subnet, subnet6, IPv4Address(f"192.168.77.{number}")) for number in (1, 2))
    assert make_allocator(etcd).acquire(calc_vteps(1), first).lease.subnet == subnet
    with pytest.raises(SubnetTakenError):
        make_allocator(etcd).acquire(calc_vteps(2), second)
    assert make_allocator(etcd).acquire(calc_vteps(2), None).lease.subnet != subnet
