"""GC: release everything of the network that the runtime no longer lists."""

from shibafu.cni.config import parse_valid_attachments
from shibafu.cni.errors import merge_errors
from shibafu.cni.request import Request
from shibafu_ipam.config import parse_data_dir, parse_ipam_section
from shibafu_ipam.index import Index
from shibafu_ipam.lease_table import LeaseTable
from shibafu_ipam.store import Lease, Store, describe_store_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu_ipam.rebuild import IsNeeded


def collect_garbage(request: Request) -> None:
    """Release the leases of all attachments that are not listed.

    Raises:
        CniError: the leases that could not be removed.
    """
    valid = parse_valid_attachments(request.config)
    if valid is None:
        return  # the runtime has not said which attachments are valid
    attachments = set(valid)
    containers = {container_id for container_id, _ in valid}

    def is_needed(lease: Lease, _record: object) -> bool:
        if not lease.ifname:
            return lease.container_id in containers
        return lease.owner in attachments

    try:
        with Store(parse_data_dir(parse_ipam_section(request)), request.network) as store:
            if not store.lock_existing():
                return
            errors = _release(store, is_needed)
    except OSError as error:
        raise describe_store_failure("collect garbage", error) from None
    if errors:
        raise merge_errors([describe_store_failure("release an address", error) for error in errors])


def _release(store: Store, is_needed: "IsNeeded") -> list[OSError]:
    try:
        with Index(store) as index:
            return LeaseTable(index).rebuild(is_needed)
    except OSError:
        # The index cannot be written, because the disk is full for instance; leases can still go.
        return store.release_where(lambda lease: not is_needed(lease, None))
