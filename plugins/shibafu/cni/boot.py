"""The kernel's ID of the running boot, which distinguishes its state from what earlier ones have left."""

from shibafu.lean.files import read_file

FILE = "/proc/sys/kernel/random/boot_id"
_LENGTH = 36
_CHARACTERS = frozenset("0123456789abcdef-")
# What was read, by the file: it does not change while a process lives, and ADD needs it four times.
_known: dict[str, str] = {}


def read_boot_id() -> str:
    """Return the name of the running boot; empty when it cannot be told."""
    if FILE not in _known:
        try:
            boot_id = parse_boot_id(read_file(FILE, 64) or b"")
        except OSError:
            return ""
        if not boot_id:
            return ""
        _known[FILE] = boot_id
    return _known[FILE]


def forget_boot_id() -> None:
    """Read it again from now on: this process is where the file may be another one."""
    _known.clear()


def parse_boot_id(content: bytes) -> str:
    """Return a boot's name as it is in a file; empty when there is something else in it."""
    text = content.decode("ascii", "replace").strip()
    return text if len(text) == _LENGTH and _CHARACTERS.issuperset(text) else ""
