"""Making resources in order, and taking back what was made when one of them fails."""

from shibafu.cni.errors import NETWORK_SETUP, CniError
from shibafu.netlink.errors import NetlinkError
from shibafu.resource.base import ATTACHMENT, HOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from shibafu.resource.base import Resource
    from shibafu.resource.records import NetworkState
    from shibafu.resource.view import View


class Transaction:
    """Resources that all exist when the `with` block ends, or else none that this call created.

    Args:
        view: where they are made.

    Raises:
        CniError: on leaving the block, in place of an OSError or a NetlinkError, with what could not be
            taken back.
    """

    __slots__ = ("_made", "_running", "_view")

    def __init__(self, view: "View") -> None:
        self._view = view
        self._made: list[Resource] = []
        self._running: list[Resource] = []

    def ensure(self, resource: "Resource") -> None:
        """Make a resource; see `Resource.ensure`."""
        if resource.is_barrier:
            self.settle()
        # Before: what fails may have got half-way.
        self._made.append(resource)
        self._running.append(resource)
        is_new = resource.ensure(self._view)
        if resource.scope == HOST and not is_new:
            self._made.remove(resource)

    def ensure_unless_paused(self, plan: "list[Resource]", state: "NetworkState") -> None:
        """Make resources in order; while their network is paused, only those that are the attachment's own.

        Args:
            plan: the resources.
            state: the network's records.
        """
        if state.has_pause():
            from shibafu.resource.pause_file import is_paused

            plan = [one for one in plan if one.scope == ATTACHMENT] if is_paused(state) else plan
        for resource in plan:
            self.ensure(resource)

    def settle(self) -> None:
        """Complete everything that was left running."""
        while self._running:
            self._running[0].settle()
            self._running.pop(0)

    def __enter__(self) -> "Transaction":
        return self

    def __exit__(self, _type: object, failure: BaseException | None, _trace: object) -> None:
        if failure is None:
            return
        left = "; ".join(self._roll_back())
        if isinstance(failure, CniError):
            failure.details = "; ".join(filter(None, (failure.details, left)))
        elif isinstance(failure, NetlinkError):
            raise CniError(NETWORK_SETUP, str(failure), left) from failure
        elif isinstance(failure, OSError):
            from shibafu.cni.failures import describe_os_error

            answer = describe_os_error("attach the container", failure)
            answer.details = "; ".join(filter(None, (answer.details, left)))
            raise answer from failure

    def _roll_back(self) -> list[str]:
        """Remove what was made, the last first; return what was left, and why.

        An error on the way back does not hide the failure itself.
        """
        left: list[str] = []
        # First, or programs that run would make something after it was removed.
        for resource in self._running:
            _attempt(resource.cancel, resource, left)
        for resource in reversed(self._made):
            if not (left and resource.is_last):
                _attempt(resource.remove, resource, left)
                _attempt(resource.settle_removal, resource, left)
        return left


def _attempt(step: "Callable[[], object]", resource: "Resource", left: list[str]) -> None:
    try:
        step()
    except Exception as error:  # not even a defect may keep the rest from being taken back
        left.append(f"could not remove {resource.title}: {_describe(error)}")


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, NetlinkError):
        return (error.strerror or str(error)).lower()
    return str(error)
