"""Leases and index as one: finding, taking and releasing addresses, so that both always agree."""

from shibafu.cni.errors import INTERNAL, CniError
from shibafu.lean.ip import Address
from shibafu_ipam.index import Index
from shibafu_ipam.index_records import IndexRecord
from shibafu_ipam.store import Lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu_ipam.rebuild import IsNeeded


class LeaseTable:
    """The addresses of one network, for one operation under the store's lock.

    Nothing is changed until something is taken or released; `close` then makes the changes valid. A
    call that is killed, or that the disk fails, does not get there, and the next one rebuilds the index.

    Args:
        index: the network's index.
    """

    __slots__ = ("_is_changed", "index", "store")

    def __init__(self, index: Index) -> None:
        self.index = index
        self.store = index.store
        self._is_changed = False

    def open(self) -> None:
        """Make sure that the index is right."""
        if not self.index.is_valid():
            self.rebuild()

    def close(self) -> None:
        """Make what was changed valid."""
        if self._is_changed:
            self.index.commit()
            self._is_changed = False

    def rebuild(self, is_needed: "IsNeeded | None" = None) -> list[OSError]:
        """Rebuild the index from the leases; see `rebuild.rebuild`."""
        from shibafu_ipam.rebuild import rebuild

        errors = rebuild(self.index, is_needed)
        self._is_changed = False
        return errors

    def find(self, container_id: str, ifname: str) -> IndexRecord:
        """Return what an attachment has, with an empty list when that is nothing.

        Raises:
            CniError: the index stays wrong however often it is rebuilt, which is a defect.
        """
        for is_last in (False, True):
            record = self.index.records.read(container_id, ifname)
            if record is None:
                if is_last or self.index.records.is_intact(container_id):
                    return IndexRecord(container_id, ifname, [])
            elif self.store.has_leases(record.owner, record.addresses):
                return record
            self.rebuild()
        raise _defect(f"the record of {container_id} {ifname}")

    def holder(self, address: Address) -> IndexRecord:
        """Return what the attachment has that has an address; an empty record when the address is free."""
        lease = self.store.lease_read(address)
        return self.find(*lease.owner) if lease is not None else IndexRecord("", "", [])

    def take(self, record: IndexRecord, address: Address) -> bool:
        """Give an address to the attachment of `record`; return False when it has a lease already."""
        self._begin()
        taken = IndexRecord(*record.owner, [*record.addresses, address], record.netns, record.view)
        self.index.records.write(taken)
        lease = Lease(address, record.container_id, record.ifname)
        if not self.store.lease_add(lease):
            if self.store.lease_read(address) is not None:
                self._restore(record)
                return False
            # Nothing legible is in the file: host-local was killed while it wrote the lease.
            self.store.lease_del(address)
            if not self.store.lease_add(lease):
                raise _defect(f"the lease of {address}")
        record.addresses.append(address)
        self.index.pages.set_taken(address.version, address.value, True)
        return True

    def release(self, record: IndexRecord, addresses: list[Address] | None = None) -> None:
        """Take addresses back from an attachment, by default all; that it has none is not an error."""
        released = list(record.addresses if addresses is None else addresses)
        if not released:
            return
        self._begin()
        for address in released:
            self.store.lease_del(address)
        for address in released:
            self.index.pages.set_taken(address.version, address.value, False)
            record.addresses.remove(address)
        self._restore(record)

    def _begin(self) -> None:
        if not self._is_changed:
            self.index.begin()
            self._is_changed = True

    def _restore(self, record: IndexRecord) -> None:
        if record.addresses:
            self.index.records.write(record)
        else:
            self.index.records.remove(*record.owner)


def _defect(what: str) -> CniError:
    return CniError(
        INTERNAL,
        f"internal error in shibafu-ipam, please report it: {what} is wrong even after a rebuild",
    )
