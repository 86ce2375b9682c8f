"""Who has changed something, as far as the kernel tells."""

from shibafu.lean.files import read_file


def describe_process(pid: int) -> str:
    """Return a process as logs call it: `ip[812]`; empty for 0, which is the kernel.

    Args:
        pid: the port of its netlink socket, which mostly is its number.
    """
    if pid <= 0:
        return ""
    try:
        name = read_file(f"/proc/{pid}/comm", 64) or b""
    except OSError:
        name = b""
    # It may have ended meanwhile.
    return describe_named(name.decode("utf-8", "replace").strip(), pid)


def describe_named(name: str, pid: int) -> str:
    """Return a process of which the name is known; what could be a line of its own is none."""
    return f"{name if name.isprintable() else ''}[{pid}]"
