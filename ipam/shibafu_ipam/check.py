"""CHECK: does the attachment still have its addresses? Nothing is changed."""

from shibafu.cni.errors import CHECK_FAILED, CniError
from shibafu.cni.request import Request
from shibafu.lean.ip import Address
from shibafu_ipam.config import IpamConfig
from shibafu_ipam.index import Index
from shibafu_ipam.lease_table import LeaseTable
from shibafu_ipam.store import Store, describe_store_failure


def check(request: Request) -> None:
    """Make sure that the container's interface has an address of each range set.

    Raises:
        CniError: CHECK_FAILED when it has not.
    """
    config = IpamConfig(request)
    try:
        with Store(config.data_dir, request.network) as store:
            store.lock_for_reading()
            addresses = _find(store, request.container_id, request.ifname)
    except OSError as error:
        raise describe_store_failure("check the address", error) from None
    unplaced = list(addresses)
    missing = []
    for range_set in config.range_sets:
        placed = [address for address in addresses if range_set.range_of(address)]
        unplaced = [address for address in unplaced if address not in placed]
        if not placed:
            missing.append(range_set)
    # An address outside all sets means that the configuration changed since ADD: then which set an
    # address was of cannot be known.
    if not addresses or (missing and not unplaced):
        raise CniError(
            CHECK_FAILED,
            f"host-local: Failed to find address added by container {request.container_id}",
            f"no lease of range set {', '.join(map(str, missing))} in {store.directory}; "
            "on a network of shibafu-bridge, `shibafu network repair` restores it",
        )


def _find(store: Store, container_id: str, ifname: str) -> list[Address]:
    """Return the addresses of an attachment, as the leases on disk have it."""
    try:
        with Index(store) as index:
            if index.is_valid():
                table = LeaseTable(index)
                for name in (ifname, ""):
                    record = index.records.read(container_id, name)
                    if record is not None and table.is_right(record):
                        return record.addresses
    except OSError:
        pass  # the index is a hint, and ADD rebuilds it
    leases = [lease for _, lease in store.leases() if lease is not None]
    own = [lease.address for lease in leases if lease.owner == (container_id, ifname)]
    return own or [lease.address for lease in leases if lease.owner == (container_id, "")]
