"""Repairing what an existing attachment has lost; a DEL of it does not wait for that."""

from shibafu.cni.errors import CniError
from shibafu.netlink.errors import NetlinkError
from shibafu.resource.base import HOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.resource.base import Resource
    from shibafu.resource.claim import Claim
    from shibafu.resource.view import View


def mend(resource: "Resource", view: "View", claim: "Claim | None", is_next: bool = False) -> bool:
    """Repair what is wrong with a resource, if it can be repaired; return whether anything was.

    What was made for an attachment that a DEL has removed meanwhile is taken away again.

    Args:
        resource: the resource.
        view: where it is.
        claim: the claim to its attachment; None for what is not one attachment's, or is not recorded.
        is_next: whether it is ensured whatever is wrong with it, as what comes before it was repaired.

    Raises:
        CniError: it cannot be repaired or removed.
        NetlinkError: the kernel refuses.
    """
    try:
        is_broken = any(fault.is_mendable for fault in resource.faults(view))
    except (CniError, NetlinkError):
        return False  # what an IPAM plugin says, or the kernel does not show, is reported and not repaired
    if not (is_broken or is_next):
        return False
    restore(resource, view, claim)
    return True


def restore(resource: "Resource", view: "View", claim: "Claim | None") -> None:
    """Make what a resource lacks, without looking at it first; see above.

    Raises:
        CniError: it cannot be repaired or removed.
        NetlinkError: the kernel refuses.
    """
    try:
        resource.ensure(view)
        resource.settle()
    except BaseException as error:
        # After Ctrl-C, too: programs may be at work.
        resource.cancel()
        is_refusal = isinstance(error, CniError | OSError)
        if not is_refusal or claim is None or claim.holds():
            raise
    finally:
        view.forget()
    if claim is not None and not claim.holds() and resource.scope != HOST:
        resource.remove()
        resource.settle_removal()
