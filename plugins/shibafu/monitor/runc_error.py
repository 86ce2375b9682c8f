"""What runc says of a container that does not start."""

from shibafu.lean.files import read_file
from shibafu.lean.json import loads

_MAX_FILE = 1 << 20


def read_runc_error(path: str) -> str:
    """Return the last error in a log of runc's, in JSON; empty without one, or without a readable log."""
    try:
        log = read_file(path, _MAX_FILE) or b""
    except OSError:
        return ""
    complaint = ""
    for line in log.splitlines():
        try:
            entry = loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
            complaint = str(entry.get("msg"))
    return complaint
