"""The error a plugin answers with: a code of the CNI specification and a sentence for the user."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Error codes of the CNI specification 1.1.0, section "Error"; 0-99 are reserved for it.
INCOMPATIBLE_VERSION = 1
UNSUPPORTED_FIELD = 2
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
DECODING_FAILURE = 6
INVALID_CONFIG = 7
SAME_NETNS = 8  # not in the specification's table; the reference plugins use it for this one case
TRY_AGAIN_LATER = 11
NOT_AVAILABLE = 50
LIMITED_CONNECTIVITY = 51

# Codes of this suite.
INTERNAL = 100  # a defect in shibafu itself
NETWORK_SETUP = 101  # the kernel refused a link, an address or a route
FIREWALL = 102  # iptables or nft refused a rule
DELEGATE = 103  # another plugin could not be run, or answered nonsense
CHECK_FAILED = 104  # the attachment is not as ADD left it
NO_ADDRESS = 105  # no address is free, or the requested one is not
PORT_TAKEN = 106  # a port of the host is another container's, or a program listens on it


class CniError(Exception):
    """A failure that the runtime sees as a CNI error object.

    Args:
        code: one of the codes above.
        msg: one sentence that says what is wrong and, where the user can, what to change.
        details: a longer explanation, or the offending value; may be empty.
    """

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg
        self.details = details

    def to_json(self, cni_version: str) -> dict[str, object]:
        """Return the specification's error object."""
        error: dict[str, object] = {"cniVersion": cni_version} if cni_version else {}
        error["code"] = self.code
        error["msg"] = self.msg
        if self.details:
            error["details"] = self.details
        return error


def calc_line(text: str) -> str:
    """Return a text as one line that does nothing to a terminal, whatever parts of it say."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))


def attempt(errors: list[CniError], step: "Callable[..., object]", *arguments: object) -> bool:
    """Run a step whose failure must not prevent the next one; it is added to the errors.

    Returns:
        Whether it succeeded.
    """
    try:
        step(*arguments)
    except CniError as error:
        errors.append(error)
    except OSError as error:
        errors.append(CniError(IO_FAILURE, str(error)))
    else:
        return True
    return False


def merge_errors(errors: list[CniError]) -> CniError:
    """Return one error that combines them; teardown continues after each and reports them at the end.

    What several say alike, because they have one cause, is said once.
    """
    if len(errors) == 1:
        return errors[0]
    details = "; ".join(dict.fromkeys(e.details for e in errors if e.details))
    return CniError(errors[0].code, "; ".join(dict.fromkeys(e.msg for e in errors)), details)
