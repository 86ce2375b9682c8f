"""Removing as much as possible, and reporting at the end what could not be removed."""

from shibafu.cni.errors import NETWORK_SETUP, CniError, merge_errors
from shibafu.netlink.errors import NetlinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shibafu.resource.base import Resource


class Teardown:
    """Steps that are all done whatever happens to the others, and their errors."""

    __slots__ = ("errors",)

    def __init__(self) -> None:
        self.errors: list[CniError] = []

    def do(self, step: "Callable[..., object]", *arguments: object) -> None:
        """Do one step, a call with these arguments."""
        try:
            step(*arguments)
        except CniError as error:
            self.errors.append(error)
        except NetlinkError as error:
            self.add([error])
        except OSError as error:
            from shibafu.cni.failures import describe_os_error

            self.errors.append(describe_os_error("clean up", error))

    def remove(self, resources: "Iterable[Resource]") -> None:
        """Remove the resources of an attachment, which are in the order in which they were made."""
        before = len(self.errors)
        running: list[Resource] = []
        for resource in reversed(list(resources)):
            if resource.is_removal_barrier:
                self._settle(running)
            if resource.is_last and len(self.errors) > before:
                continue  # by it, what is left is found
            running.append(resource)
            self.do(resource.remove)
        self._settle(running)

    def _settle(self, running: "list[Resource]") -> None:
        while running:
            self.do(running.pop(0).settle_removal)

    def add(self, refusals: "Iterable[NetlinkError]") -> None:
        """Add what the kernel refused in a step of many that did the rest."""
        self.errors += [CniError(NETWORK_SETUP, str(error)) for error in refusals]

    def finish(self) -> None:
        """Report what failed.

        Raises:
            CniError: one that combines all errors.
        """
        if self.errors:
            raise merge_errors(self.errors)
