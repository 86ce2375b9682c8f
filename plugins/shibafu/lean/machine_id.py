"""What tells this machine from others: machine-id(5)."""

from shibafu.lean.files import read_file

_MACHINE_ID = "/etc/machine-id"
_LARGEST = 4096
_HEX_DIGITS = frozenset(b"0123456789abcdef")


def read_machine_id() -> str:
    """Return what identifies this machine; empty if nothing does.

    Images have an empty file, or the word "uninitialized" in it, until a machine's first boot.
    """
    try:
        digits = (read_file(_MACHINE_ID, _LARGEST, follow=True) or b"").strip()
    except OSError:
        return ""
    return digits.decode() if len(digits) == 32 and _HEX_DIGITS.issuperset(digits) else ""
