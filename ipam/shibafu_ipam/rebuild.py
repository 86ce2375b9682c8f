"""Rebuilding the index from the leases, and releasing leases that can no longer be needed.

It reads every lease, so it happens only when somebody else has changed the store, after a killed call,
after a reboot, for GC, and before an ADD would fail for want of an address.
"""

import os
import time

from shibafu.lean.ip import Address
from shibafu_ipam.bitmap import ADDRESS_BITS, PAGE_ADDRESSES, PAGE_BYTES, find_free
from shibafu_ipam.index import STAMP_LAG, Index
from shibafu_ipam.index_records import IndexRecord
from shibafu_ipam.store import Lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # Returns for a lease, and for what is recorded of it, whether it must be kept.
    IsNeeded = Callable[[Lease, IndexRecord | None], bool]

# How far the clock may have been set since the machine started, in seconds.
_CLOCK_MARGIN = 60


class MemoryPages:
    """Pages in memory, made of the leases themselves."""

    __slots__ = ("pages",)

    def __init__(self) -> None:
        self.pages: dict[tuple[int, int], bytearray] = {}

    def set_taken(self, version: int, value: int) -> None:
        """Mark an address (as an integer) as taken."""
        key = (version, value >> ADDRESS_BITS)
        page = self.pages.get(key)
        if page is None:
            page = self.pages[key] = bytearray(PAGE_BYTES)
        bit = value % PAGE_ADDRESSES
        page[bit >> 3] |= 1 << (bit & 7)

    def find_free(self, version: int, first: int, last: int) -> int | None:
        """Return the lowest free address from `first` to `last`."""
        return find_free(self._read, version, first, last)

    def _read(self, version: int, number: int) -> bytes:
        return bytes(self.pages.get((version, number), b""))


class Survey:
    """What the leases on disk amount to; nothing is changed.

    Args:
        index: the index as it is, valid or not: it knows namespaces, and what an earlier boot had.
        is_needed: which leases to keep; without it, all but those of an earlier boot.
    """

    __slots__ = ("dropped", "records")

    def __init__(self, index: Index, is_needed: "IsNeeded | None" = None) -> None:
        self.records: dict[tuple[str, str], IndexRecord] = {}
        self.dropped: list[tuple[Address, Lease | None]] = []
        known = index.records.read_all()
        reboot = _Reboot(index) if index.is_of_earlier_boot() else None
        for address, lease in index.store.leases():
            if lease is None:
                self.dropped.append((address, None))
                continue
            if not lease.container_id:
                self.keep(lease)
                continue
            recorded = known.get(lease.owner)
            if recorded is not None and address not in recorded.addresses:
                recorded = None
            if (reboot is not None and reboot.ended(lease, recorded is not None)) or (
                is_needed is not None and not is_needed(lease, recorded)
            ):
                self.dropped.append((address, lease))
            else:
                self.keep(lease, recorded)

    def keep(self, lease: Lease, recorded: IndexRecord | None = None) -> None:
        """Count a lease among those that stay."""
        record = self.records.setdefault(lease.owner, IndexRecord(*lease.owner, []))
        record.addresses.append(lease.address)
        if recorded is not None and not record.netns:
            record.netns, record.view = recorded.netns, recorded.view

    def calc_pages(self) -> MemoryPages:
        """Return which addresses the kept leases take."""
        pages = MemoryPages()
        for record in self.records.values():
            for address in record.addresses:
                pages.set_taken(address.version, address.value)
        return pages


class _Reboot:
    """Finds the leases that ended with an earlier boot: after one, no container's network exists."""

    __slots__ = ("_booted_at", "_index")

    def __init__(self, index: Index) -> None:
        self._index = index
        self._booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def ended(self, lease: Lease, is_recorded: bool) -> bool:
        """Return whether a lease ended.

        What the index recorded was made before, unless the file is younger than the last operation:
        then host-local, in this boot, gave the address to the same attachment again. What it did not
        record, host-local made: before the boot, if the file's time says so beyond doubt.
        """
        made_at = os.stat(self._index.store.lease_path(lease.address)).st_mtime_ns
        if is_recorded and made_at <= self._index.stamped_at + STAMP_LAG:
            return True
        return made_at < (self._booted_at - _CLOCK_MARGIN) * 1_000_000_000


def rebuild(index: Index, is_needed: "IsNeeded | None" = None) -> list[OSError]:
    """Rebuild the index, and remove the leases that are not needed.

    Returns:
        Why leases could not be removed; they are still in the index.
    """
    survey = Survey(index, is_needed)
    errors: list[OSError] = []
    index.begin()
    # The leases first: should this be killed, the records still tell the rest of them.
    for address, lease in survey.dropped:
        try:
            index.store.lease_del(address)
        except OSError as error:
            errors.append(error)
            if lease is not None:
                survey.keep(lease)
    index.ensure_directories()
    index.records.replace_all(list(survey.records.values()))
    index.pages.replace_all(survey.calc_pages())
    index.write_stamp()
    index.commit()
    return errors
