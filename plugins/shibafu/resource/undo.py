"""Undoing what a failed call did."""

from shibafu.cni.errors import NETWORK_SETUP, CniError
from shibafu.netlink.errors import NetlinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Undo:
    """What has to be done, last first, if the block it guards fails.

    An error on the way back does not hide the failure itself: it is added to its details.

    Raises:
        CniError: on leaving the block, in place of an OSError, with what could not be undone.
    """

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def push(self, what: str, step: "Callable[[], object]") -> None:
        """Add a step; `what` says what was left if it fails."""
        self._steps.append((what, step))

    def __enter__(self) -> "Undo":
        return self

    def __exit__(self, _type: object, failure: BaseException | None, _trace: object) -> None:
        if failure is None:
            return
        left = []
        for what, step in reversed(self._steps):
            try:
                step()
            except Exception as error:  # not even a defect may keep the rest from being undone
                left.append(f"{what} was left: {error}")
        if isinstance(failure, CniError):
            failure.details = "; ".join([failure.details, *left]).removeprefix("; ")
        elif isinstance(failure, NetlinkError):
            raise CniError(NETWORK_SETUP, str(failure), "; ".join(left)) from failure
        elif isinstance(failure, OSError):
            from shibafu.cni.mishaps import describe_os_error

            answer = describe_os_error("attach the container", failure)
            answer.details = "; ".join([answer.details, *left]).removeprefix("; ")
            raise answer from failure
