"""The sysctls that an administrator allows networks to set: Python's regular expressions, one a line.

Without the file all are allowed.
"""

from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.lean.files import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PATH = "/etc/cni/tuning/allowlist.conf"
_MAX_SIZE = 1 << 20


def require_allowed(keys: "Iterable[str]") -> None:
    """Refuse sysctls that are not allowed.

    Args:
        keys: the sysctls, as they are stated.

    Raises:
        CniError: INVALID_CONFIG for the first that no line matches, or for a line that is not an expression.
        OSError: the file cannot be read.
    """
    content = read_file(PATH, _MAX_SIZE, follow=True)
    if content is None:
        return
    lines = [line for text in content.decode("utf-8", "replace").split("\n") if (line := text.strip())]
    for key in keys:
        if not any(_matches(line, key) for line in lines):
            raise CniError(
                INVALID_CONFIG,
                f"Sysctl {key} is not allowed. Only the following sysctls are allowed: [{' '.join(lines)}]",
                f'remove "{key}" from "sysctl", or add it to {PATH}',
            )


def _matches(expression: str, key: str) -> bool:
    # It costs 10 ms of a call that starts cold, where there is such a file.
    import re

    try:
        if "[:" in expression:
            raise ValueError("a class such as [[:alpha:]] is not supported")
        return re.search(expression, key) is not None
    except (ValueError, RecursionError, re.error) as error:
        raise CniError(
            INVALID_CONFIG, f"error parsing regexp: {error}", f'correct the line "{expression}" in {PATH}'
        ) from None
