"""Acquiring a host's subnet in etcd, so that no two hosts have the same one.

A key holds the subnets of both families, so that a transaction on the key alone would let two hosts have
one IPv4 subnet with two IPv6 subnets. The IPv6 subnet's number follows from the IPv4 subnet's, and the
transaction is about all keys that begin with the IPv4 subnet.
"""

import random
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import islice

from shibafu.overlay.cluster_network import ClusterNetwork
from shibafu.overlay.errors import OverlayError
from shibafu.overlay.etcd import EtcdClient, encode_value
from shibafu.overlay.etcd_failures import EtcdError
from shibafu.overlay.messages import HeldLease
from shibafu.overlay.subnet_leases import (
    HostVteps,
    SubnetLease,
    format_lease_key,
    format_lease_value,
    parse_lease,
)

_TRIES = 10
# Among how many free subnets one is chosen: hosts that start together rarely choose the same.
_CHOICE = 100


class SubnetTakenError(OverlayError):
    """The subnet that a host has, and whose addresses its containers have, is another host's.

    Args:
        lease: what the host has lost.
        owner: the other host's address.
        network: its name on this host.
    """

    def __init__(self, lease: SubnetLease, owner: object, network: str = "NETWORK") -> None:
        super().__init__(
            f"{lease.subnet}, this host's subnet, has been taken by the host {owner}",
            f"remove that host (shibafu overlay rm {owner}), and this one has its subnet again; or get"
            f" another subnet with `shibafu overlay rejoin {network} --new-subnet`, and connect the"
            " containers again",
        )
        self.lease = lease
        self.owner = str(owner)


@dataclass(frozen=True)
class _Entry:
    """A key of a host, and the number of its lease."""

    key: str
    lease: SubnetLease
    number: int
    value: bytes


class SubnetAllocator:
    """The subnets of a network, in etcd.

    Args:
        client: where.
        prefix: of the network's keys.
        network: its description.
        seconds: how long etcd keeps a subnet without hearing from its host.
    """

    def __init__(self, client: EtcdClient, prefix: str, network: ClusterNetwork, seconds: int) -> None:
        self._client = client
        self._prefix = f"{prefix}/subnets/"
        self._network = network
        self._seconds = seconds
        # By which others have reached this host: etcd may have an earlier one, after a backup was restored.
        self._addresses: set[IPv4Address] = set()

    def acquire(self, host: HostVteps, previous: SubnetLease | None) -> HeldLease:
        """Return a subnet for a host: that which it has, else the one that it had, else a free one.

        Args:
            host: how to reach the host.
            previous: what it had before, perhaps with another address.

        Raises:
            SubnetTakenError: the one that it had has become another host's.
            OverlayError: no subnet is free.
            EtcdError: etcd cannot be reached, or refuses a request.
        """
        self._addresses.add(host.public_ip)
        for _ in range(_TRIES):
            entries = self._list()
            for entry in entries:
                if not self._is_of(entry.lease, host, previous):
                    continue
                if self._has_room_for(entry.lease):
                    return self._adopt(entry, host.calc_lease(entry.lease.subnet, entry.lease.subnet6))
                # The network has been described otherwise since.
                self._client.delete(self._prefix + entry.key)
                entries = [one for one in entries if one is not entry]
            held = self._claim(self._choose(entries, host, previous))
            if held is not None:
                return held
        raise EtcdError(f"other hosts were faster {_TRIES} times when this one asked for a subnet")

    def keep(self, held: HeldLease) -> HeldLease:
        """Make sure that a host has its subnet: the same one, since its containers have addresses of it.

        Raises:
            SubnetTakenError: it has become another host's.
            EtcdError: etcd cannot be reached, or refuses a request.
        """
        key = format_lease_key(held.lease.subnet, held.lease.subnet6)
        stored = self._client.get(self._prefix + key)
        is_right = stored is not None and stored.value == format_lease_value(held.lease).encode()
        # The key may be gone though the lease is there, and the other way round.
        if is_right and (not held.number or self._client.keep_alive(held.number)):
            return held
        for _ in range(_TRIES):
            entries = self._list()
            same = [entry for entry in entries if entry.lease.subnet == held.lease.subnet]
            for entry in same:
                if entry.lease.public_ip in self._addresses:
                    return self._adopt(entry, held.lease)
            _require_free(entries, held.lease)
            again = self._claim(held.lease)
            if again is not None:
                return again
        raise EtcdError(f"other hosts were faster {_TRIES} times when this one asked for its subnet")

    def _list(self) -> list[_Entry]:
        entries = []
        for stored in self._client.list_prefix(self._prefix).values:
            key = stored.key.removeprefix(self._prefix)
            lease = parse_lease(key, stored.value)
            if lease is not None:
                entries.append(_Entry(key, lease, stored.lease, stored.value))
        return entries

    @staticmethod
    def _is_of(lease: SubnetLease, host: HostVteps, previous: SubnetLease | None) -> bool:
        if lease.public_ip == host.public_ip:
            return True
        return (
            previous is not None and lease.subnet == previous.subnet and lease.public_ip == previous.public_ip
        )

    def _has_room_for(self, lease: SubnetLease) -> bool:
        """Return whether the network has such a subnet, as it is described now."""
        subnets6 = self._network.subnets6
        if (lease.subnet6 is None) != (subnets6 is None):
            return False
        is_right = self._network.subnets.find_number(lease.subnet) is not None
        if subnets6 is not None and lease.subnet6 is not None:
            is_right &= subnets6.find_number(lease.subnet6) is not None
        return is_right

    def _adopt(self, entry: _Entry, wanted: SubnetLease) -> HeldLease:
        """Take over the key that the host has; nothing is written if it is right and will stay."""
        value = format_lease_value(wanted).encode()
        if not entry.number:
            # A reservation, which no lease may be attached to.
            if entry.value != value:
                self._put(entry.key, value, {"ignore_lease": True})
            return HeldLease(wanted, 0, self._seconds)
        seconds = self._client.keep_alive(entry.number)
        if seconds and entry.value == value:
            return HeldLease(wanted, entry.number, seconds)
        number = self._client.grant_lease(self._seconds)
        self._put(entry.key, value, {"lease": number})
        return HeldLease(wanted, number, self._seconds)

    def _put(self, key: str, value: bytes, more: dict[str, object]) -> None:
        self._client.call(
            "kv/put", {"key": encode_value(self._prefix + key), "value": encode_value(value)} | more
        )

    def _claim(self, wanted: SubnetLease) -> HeldLease | None:
        """Write a host's key if no other has its IPv4 subnet; None if one has."""
        number = self._client.grant_lease(self._seconds)
        # All keys that begin with the subnet's address and a dash.
        start = f"{self._prefix}{wanted.subnet.network_address}-"
        is_free = {
            "key": encode_value(start),
            "range_end": encode_value(start[:-1] + "."),
            "target": "VERSION",
            "result": "EQUAL",
            "version": 0,
        }
        put = {
            "key": encode_value(self._prefix + format_lease_key(wanted.subnet, wanted.subnet6)),
            "value": encode_value(format_lease_value(wanted)),
            "lease": number,
        }
        if self._client.transact([is_free], [{"request_put": put}]):
            return HeldLease(wanted, number, self._seconds)
        self._client.revoke_lease(number)
        return None

    def _choose(self, entries: list[_Entry], host: HostVteps, previous: SubnetLease | None) -> SubnetLease:
        """Return what to claim.

        Raises:
            SubnetTakenError: see `acquire`.
            OverlayError: no subnet is free.
        """
        subnets, subnets6 = self._network.subnets, self._network.subnets6
        number = None if previous is None else subnets.find_number(previous.subnet)
        if number is not None and number < self._network.count:
            wanted = self._calc_lease(host, number)
            _require_free(entries, wanted)
            return wanted
        taken = {number for entry in entries for number in subnets.find_numbers(entry.lease.subnet)}
        for entry in entries:
            if subnets6 is not None and entry.lease.subnet6 is not None:
                taken.update(subnets6.find_numbers(entry.lease.subnet6))
        all_free = (number for number in range(self._network.count) if number not in taken)
        free = list(islice(all_free, _CHOICE))
        if not free:
            raise OverlayError(
                f"all {self._network.count} subnets of {subnets.network} are taken",
                "remove hosts that are gone: shibafu overlay rm HOST",
            )
        return self._calc_lease(host, random.choice(free))  # noqa: S311 - no secret

    def _calc_lease(self, host: HostVteps, number: int) -> SubnetLease:
        subnets6 = self._network.subnets6
        subnet6 = None if subnets6 is None else subnets6.calc_subnet(number)
        return host.calc_lease(self._network.subnets.calc_subnet(number), subnet6)


def _require_free(entries: list[_Entry], wanted: SubnetLease) -> None:
    """Refuse what another host has.

    Raises:
        SubnetTakenError: one has it, or a part of it.
    """
    for entry in entries:
        if _overlap(entry.lease, wanted):
            raise SubnetTakenError(wanted, entry.lease.public_ip)


def _overlap(one: SubnetLease, other: SubnetLease) -> bool:
    if one.subnet.overlaps(other.subnet):
        return True
    return one.subnet6 is not None and other.subnet6 is not None and one.subnet6.overlaps(other.subnet6)
