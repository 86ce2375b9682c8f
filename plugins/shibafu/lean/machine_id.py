"""What tells this machine from others: machine-id(5)."""

from shibafu.lean.files import read_file

_MACHINE_ID = "/etc/machine-id"


def read_machine_id() -> str:
    """Return what identifies this machine; empty if it has none."""
    return (read_file(_MACHINE_ID, 64, follow=True) or b"").decode("ascii", "replace").strip()
