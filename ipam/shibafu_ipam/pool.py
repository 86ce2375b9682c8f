"""The addresses of one network, for other code than the plugin: listing, taking and releasing them.

The lock is the plugin's own, flock(2) on the same file, so that each keeps the other out.
"""

import os

from filelock import FileLock, Timeout

from shibafu.cni.directories import make_directory
from shibafu.cni.errors import IO_FAILURE, TRY_AGAIN_LATER, CniError
from shibafu.lean.ip import Address
from shibafu_ipam.index import Index
from shibafu_ipam.index_records import IndexRecord, IndexRecords
from shibafu_ipam.lease_table import LeaseTable
from shibafu_ipam.liveness import calc_view, is_abandoned
from shibafu_ipam.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

# Whom the store names as the owner of what was reserved. No runtime makes such an ID: it would be a hash.
RESERVED = "shibafu.reserved"
# Seconds to wait for calls that are at work.
PATIENCE = 10.0
# Of the lock's file: host-local's.
_LOCK_MODE = 0o750


class PoolLease:
    """An address and who has it.

    Args:
        address: the address.
        container_id: the container; RESERVED when it is kept from all, empty when that cannot be read.
        ifname: its interface, or what it is reserved for; empty in leases of old host-locals.
        record: what was recorded of the container; None for a lease that another program made.
    """

    def __init__(
        self, address: Address, container_id: str, ifname: str, record: IndexRecord | None = None
    ) -> None:
        self.address = address
        self.container_id = container_id
        self.ifname = ifname
        self.record = record

    @property
    def owner(self) -> tuple[str, str]:
        """The attachment: container ID and interface."""
        return self.container_id, self.ifname

    @property
    def netns(self) -> str:
        """The path of the container's namespace; empty if it was not recorded."""
        return self.record.netns if self.record is not None else ""

    @property
    def is_reserved(self) -> bool:
        """Whether the address is kept from all containers."""
        return self.container_id == RESERVED

    @property
    def is_abandoned(self) -> bool:
        """Whether the container's namespace is known to be gone."""
        return is_abandoned(self.record)


class Pool:
    """The addresses of one network.

    `list` may be called at any time; a call that is at work may or may not show. For the rest, everybody else
    is kept out by `with`, at whose end what was changed becomes valid.

    Args:
        data_dir: the directory of all networks, an absolute path.
        network: the network's name, a valid identifier.
        patience: how many seconds to wait for others.

    Raises:
        CniError: on entering, TRY_AGAIN_LATER when somebody else is at work for longer.
        OSError: the store cannot be read, or written to.
    """

    def __init__(self, data_dir: str, network: str, patience: float = PATIENCE) -> None:
        self._store = Store(data_dir, network)
        self._network = network
        self._patience = patience
        self._lock = FileLock(f"{self.directory}/lock", timeout=patience, mode=_LOCK_MODE)
        self._table: LeaseTable | None = None

    @property
    def directory(self) -> str:
        """Where the leases are."""
        return self._store.directory

    @property
    def index_directory(self) -> str:
        """The directory of the index."""
        return self._store.index_directory

    def list(self, broken: list[CniError] | None = None) -> list[PoolLease]:
        """Return all leases, by address.

        Args:
            broken: takes what is wrong with leases that cannot be read, whose addresses nobody gets.
        """
        if not os.path.isdir(self.directory):
            return []
        records = IndexRecords(self._store.records_directory).read_all()
        leases = []
        for address, lease in self._store.leases():
            if lease is None:
                continue
            if not lease.container_id and broken is not None:
                path = self._store.lease_path(address)
                broken.append(CniError(IO_FAILURE, f"{path} is not a readable lease"))
            leases.append(PoolLease(address, *lease.owner, records.get(lease.owner)))
        return sorted(leases, key=lambda lease: (lease.address.version, lease.address.value))

    def owner(self, address: Address) -> PoolLease | None:
        """Return who has an address; None when it is free."""
        record = self._open().holder(address)
        return PoolLease(address, *record.owner, record) if record.addresses else None

    def take(self, address: Address, container_id: str, ifname: str, netns: str = "") -> bool:
        """Give an address to an attachment, whether or not any range has it.

        Args:
            address: the address.
            container_id: the container, or RESERVED.
            ifname: its interface, or what the address is reserved for.
            netns: the path of its network namespace.

        Returns:
            False when somebody has it already.
        """
        table = self._open()
        record = table.find(container_id, ifname)
        if netns and not record.addresses:
            record.view = calc_view(netns)
            record.netns = netns if record.view else ""
        return table.take(record, address)

    def release(self, address: Address) -> PoolLease | None:
        """Release an address; return its owner, or None if it was free."""
        table = self._open()
        record = table.holder(address)
        if not record.addresses:
            return None
        table.release(record, [address])
        return PoolLease(address, *record.owner, record)

    def _open(self) -> LeaseTable:
        if self._table is None:
            raise RuntimeError("the pool is not locked")
        return self._table

    def __enter__(self) -> "Pool":
        self._store.secure()
        make_directory(self.directory, 0o755)
        try:
            self._lock.acquire()
        except Timeout:
            raise CniError(
                TRY_AGAIN_LATER,
                f"the leases of network {self._network} have been locked for {self._patience:.0f} seconds",
                f"`fuser -v {self.directory}/lock` shows which process holds the lock",
            ) from None
        try:
            self._table = LeaseTable(Index(self._store))
            self._table.open()
        except BaseException:
            # `with` does not close what could not be entered.
            self._close()
            raise
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        failure: BaseException | None,
        _trace: "TracebackType | None",
    ) -> None:
        try:
            if failure is None:
                self._open().close()
        finally:
            self._close()

    def _close(self) -> None:
        table, self._table = self._table, None
        if table is not None:
            table.index.__exit__()
        self._lock.release()
