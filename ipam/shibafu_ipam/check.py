"""CHECK: does the attachment still have its addresses? Nothing is changed."""

from shibafu.cni.errors import CHECK_FAILED, CniError
from shibafu.cni.request import Request
from shibafu.lean.ip import Address
from shibafu_ipam.config import IpamConfig
from shibafu_ipam.index_records import IndexRecords
from shibafu_ipam.ranges import RangeSet
from shibafu_ipam.store import Store, describe_store_failure


def check(request: Request) -> None:
    """Make sure that the container's interface has an address of each range set.

    No lock is needed if the leases agree with the container's record: a lease that is still being written
    does not name this owner. Otherwise all leases are read under the lock, while no other call is at work.

    Raises:
        CniError: CHECK_FAILED when it has not.
    """
    config = IpamConfig(request)
    owner = request.container_id, request.ifname
    try:
        with Store(config.data_dir, request.network) as store:
            store.secure()
            missing = _find_missing(config.range_sets, _find_recorded(store, *owner))
            if missing:
                store.lock_for_reading()
                missing = _find_missing(config.range_sets, _find_leased(store, *owner))
    except OSError as error:
        raise describe_store_failure("check the address", error) from None
    if missing:
        raise CniError(
            CHECK_FAILED,
            f"host-local: Failed to find address added by container {request.container_id}",
            f"no lease of range set {', '.join(map(str, missing))} in {store.directory}; "
            "on a network of shibafu-bridge, `shibafu network repair` restores it",
        )


def _find_missing(range_sets: list[RangeSet], addresses: list[Address]) -> list[RangeSet]:
    """Return the range sets of which an attachment with these addresses has none.

    An address outside all sets means that the configuration changed since ADD: then which set an address was
    of cannot be known.
    """
    missing = [one for one in range_sets if not any(map(one.range_of, addresses))]
    is_placed = all(any(one.range_of(address) for one in range_sets) for address in addresses)
    return missing if is_placed else []


def _find_recorded(store: Store, container_id: str, ifname: str) -> list[Address]:
    """Return the addresses that the index says an attachment has, if it has them."""
    records = IndexRecords(store.records_directory)
    try:
        for name in (ifname, ""):
            record = records.read(container_id, name)
            if record is not None and store.has_leases(record.owner, record.addresses):
                return record.addresses
    except OSError:
        pass  # the index is a hint, and ADD rebuilds it
    return []


def _find_leased(store: Store, container_id: str, ifname: str) -> list[Address]:
    """Return the addresses of an attachment, as all leases have it."""
    leases = [lease for _, lease in store.leases() if lease is not None]
    own = [lease.address for lease in leases if lease.owner == (container_id, ifname)]
    return own or [lease.address for lease in leases if lease.owner == (container_id, "")]
