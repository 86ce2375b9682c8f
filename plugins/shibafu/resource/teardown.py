"""Taking away all that one can, and reporting at the end what one could not."""

from shibafu.cni.errors import NETWORK_SETUP, CniError, merge_errors
from shibafu.netlink.errors import NetlinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


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
            from shibafu.cni.mishaps import describe_os_error

            self.errors.append(describe_os_error("clean up", error))

    def add(self, refusals: "Iterable[NetlinkError]") -> None:
        """Add what the kernel refused in a step of many that did the rest."""
        self.errors += [CniError(NETWORK_SETUP, str(error)) for error in refusals]

    def finish(self) -> None:
        """Report what failed.

        Raises:
            CniError: one that tells of all errors.
        """
        if self.errors:
            raise merge_errors(self.errors)
