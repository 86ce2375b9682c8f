"""DEL: release all that an attachment has. It needs neither ranges nor a result; nothing to do is success."""

from shibafu.cni.request import Request
from shibafu_ipam.config import parse_data_dir, parse_ipam_section
from shibafu_ipam.index import Index
from shibafu_ipam.lease_table import LeaseTable
from shibafu_ipam.store import Store, describe_store_failure


def delete(request: Request) -> None:
    """Release the addresses of the container's interface.

    Raises:
        CniError: a lease could not be removed.
    """
    try:
        with Store(parse_data_dir(parse_ipam_section(request)), request.network) as store:
            if store.lock_existing():
                _release(store, request.container_id, request.ifname)
    except OSError as error:
        raise describe_store_failure("release the address", error) from None


def _release(store: Store, container_id: str, ifname: str) -> None:
    try:
        _release_by_index(store, container_id, ifname)
    except OSError:
        # The index cannot be written, because the disk is full for instance. A lease can still go; the
        # index stays invalid, and the next call rebuilds it.
        _release_by_reading(store, container_id, ifname)


def _release_by_index(store: Store, container_id: str, ifname: str) -> None:
    with Index(store) as index:
        table = LeaseTable(index)
        table.open()
        record = table.find(container_id, ifname)
        if not record.addresses:
            # Leases of old versions of host-local do not tell the interface.
            record = table.find(container_id, "")
        table.release(record)
        table.close()


def _release_by_reading(store: Store, container_id: str, ifname: str) -> None:
    leases = [lease for _, lease in store.leases() if lease is not None]
    own = [lease for lease in leases if lease.owner == (container_id, ifname)]
    for lease in own or [lease for lease in leases if lease.owner == (container_id, "")]:
        store.lease_del(lease.address)
