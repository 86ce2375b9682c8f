"""The addresses that are given out: reading them, releasing and reserving them under the store's lock."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock, Timeout

from shibafu.cni.directories import make_directory
from shibafu.cni.errors import IO_FAILURE, CniError
from shibafu.cni.ip import Address
from shibafu.command.errors import CommandError
from shibafu.command.networks import ConfiguredNetwork
from shibafu_ipam.index import Index
from shibafu_ipam.ledger import Ledger
from shibafu_ipam.netns import is_abandoned
from shibafu_ipam.ranges import Range
from shibafu_ipam.records import Record, Records
from shibafu_ipam.store import Store

# Whom the store names as the owner of what was reserved. No runtime makes such an ID: it would be a hash.
RESERVED = "shibafu.reserved"
_LOCK_PATIENCE = 10.0
_LOCK_MODE = 0o750


@dataclass(frozen=True)
class Holding:
    """An address and who has it.

    Args:
        network: the network's name.
        address: the address.
        container_id: the container; RESERVED when it is kept from all.
        ifname: its interface, or what it is reserved for; empty in leases of old host-locals.
        record: what shibafu-ipam recorded of the container; None for a lease that another program made.
    """

    network: str
    address: Address
    container_id: str
    ifname: str
    record: Record | None

    @property
    def netns(self) -> str:
        """The path of the container's namespace; empty where nobody recorded it."""
        return self.record.netns if self.record is not None else ""

    @property
    def is_reserved(self) -> bool:
        """Whether the address is kept from all containers."""
        return self.container_id == RESERVED

    @property
    def is_abandoned(self) -> bool:
        """Whether the container's namespace is known to be gone."""
        return is_abandoned(self.record)


def list_holdings(network: ConfiguredNetwork, broken: list[CniError] | None = None) -> list[Holding]:
    """Return the leases of a network, by address; an operation that is under way may or may not show.

    Args:
        network: the network.
        broken: takes what is wrong with leases that cannot be read, whose addresses nobody gets.
    """
    store = Store(network.data_dir, network.name)
    if not os.path.isdir(store.directory):
        return []
    records = Records(f"{store.index_directory}/records").read_all()
    holdings = []
    for address, lease in store.leases():
        if lease is not None and not lease.container_id and broken is not None:
            broken.append(CniError(IO_FAILURE, f"{store.lease_path(address)} is no lease that can be read"))
        if lease is not None:
            holdings.append(Holding(network.name, address, *lease.owner, records.get(lease.owner)))
    return sorted(holdings, key=lambda holding: (holding.address.version, holding.address.value))


def count_usable(one: Range) -> int:
    """Return how many addresses a range can give out: all but its gateway and the like."""
    return one.last - one.first + 1 - len(one.holes)


@contextmanager
def locked_ledger(network: ConfiguredNetwork) -> Iterator[Ledger]:
    """Open a network's leases for changes, with everybody else kept out.

    The lock is the plugins' own, flock(2) on the same file, so that each keeps the other out.

    Raises:
        CommandError: the lock is held by somebody else for long.
    """
    store = Store(network.data_dir, network.name)
    store.secure()
    make_directory(store.directory, 0o755)
    path = f"{store.directory}/lock"
    try:
        with FileLock(path, timeout=_LOCK_PATIENCE, mode=_LOCK_MODE), Index(store) as index:
            ledger = Ledger(index)
            ledger.open()
            yield ledger
            ledger.close()
    except Timeout:
        raise CommandError(
            f"the leases of network {network.name} have been locked for {_LOCK_PATIENCE:.0f} seconds",
            f"`fuser -v {path}` shows by whom",
        ) from None


def release_address(network: ConfiguredNetwork, address: Address, force: bool) -> Holding | None:
    """Take an address back; return who had it, None for nobody.

    Args:
        network: the network.
        address: the address.
        force: whether to do so even if the container is still there.

    Raises:
        CommandError: the container is, or may be, still there.
    """
    with locked_ledger(network) as ledger:
        record = ledger.holder(address)
        if not record.addresses:
            return None
        holding = Holding(network.name, address, *record.owner, record)
        if not (force or holding.is_reserved or holding.is_abandoned):
            raise CommandError(
                f"{address} belongs to container {record.container_id}, which may still use it",
                f"disconnect it: shibafu network disconnect {network.name} {record.container_id}; "
                "or release the address all the same: --force",
            )
        ledger.release(record, [address])
    return holding


def release_container(network: ConfiguredNetwork, container_id: str, force: bool) -> list[Holding]:
    """Take back all addresses of a container; see `release_address`."""
    holdings = [holding for holding in list_holdings(network) if holding.container_id == container_id]
    released = [release_address(network, holding.address, force) for holding in holdings]
    return [holding for holding in released if holding is not None]


def reserve_address(network: ConfiguredNetwork, address: Address, label: str) -> bool:
    """Keep an address from all containers; return False when it is reserved already.

    Args:
        network: the network.
        address: the address.
        label: what it is reserved for, a word.

    Raises:
        CommandError: a container has it, or the network does not give it out.
    """
    one = next((s.range_of(address) for s in network.range_sets if s.range_of(address) is not None), None)
    if one is None:
        ranges = ", ".join(str(range_set) for range_set in network.range_sets) or "none"
        raise CommandError(
            f"network {network.name} does not give out {address}",
            f"its ranges are: {ranges}; nothing to reserve",
        )
    kind = one.name_hole(address)
    if kind:
        raise CommandError(f"{address} is {kind} of network {network.name}", "it is never given out")
    with locked_ledger(network) as ledger:
        holder = ledger.holder(address)
        if holder.addresses:
            if holder.container_id == RESERVED:
                return False
            raise CommandError(
                f"{address} belongs to container {holder.container_id}",
                f"see: shibafu ipam ls {network.name}; `shibafu ipam release` takes it back",
            )
        if not ledger.take(ledger.find(RESERVED, label), address):
            raise CommandError(
                f"{address} was given to a container at this moment", "try again, or another one"
            )
    return True
