"""Undoing what a failed call did."""

from shibafu.cni.errors import CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Undo:
    """What has to be done, last first, if the block it guards fails.

    An error on the way back does not hide the failure itself: it is added to its details.
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
        for what, step in reversed(self._steps):
            try:
                step()
            except (CniError, OSError) as error:
                if isinstance(failure, CniError):
                    failure.details = f"{failure.details}; {what} was left: {error}".removeprefix("; ")
