"""Who has changed something, as far as the kernel tells."""

from shibafu.lean.files import read_file

_LARGEST_PID = 1 << 22  # PID_MAX_LIMIT in include/linux/threads.h


def describe_process(pid: int) -> str:
    """Return a process as logs call it: `ip[812]`, or `process 812`; empty for the kernel and the unknown.

    Args:
        pid: the port of its netlink socket. That of a process's first socket is its number, those of further
            ones are larger than numbers of processes are.
    """
    if not 0 < pid <= _LARGEST_PID:
        return ""
    try:
        name = read_file(f"/proc/{pid}/comm", 64) or b""
    except OSError:
        name = b""
    # It may have ended meanwhile.
    return describe_named(name.decode("utf-8", "replace").strip(), pid)


def describe_named(name: str, pid: int) -> str:
    """Return a process whose name may be known; what could be a line of its own is none."""
    return f"{name}[{pid}]" if name and name.isprintable() else f"process {pid}"
