"""What a forked process does not have of its own before it needs it: memory, and its directory in /proc.

Memory is shared with its parent until one of them writes to it.

A call writes to most of it, if only to count references, and each page costs a fault and a copy then, a third
of all that VERSION takes. What it only reads, the code of interpreter and libraries, costs faults as well:
fork(2) leaves mappings of files for the child to find. A spare does all that before it has a call.
"""

import os
from _ctypes import _SimpleCData

from shibafu.netlink.libc import load_libc_function

# include/uapi/asm-generic/mman-common.h, since Linux 5.14
_MADV_POPULATE_READ, _MADV_POPULATE_WRITE = 22, 23
# By the permissions of private memory; see proc_pid_maps(5).
_ADVICE = {b"rw-p": _MADV_POPULATE_WRITE, b"r--p": _MADV_POPULATE_READ, b"r-xp": _MADV_POPULATE_READ}
_PIECE = 1 << 16


class _Address(_SimpleCData):  # type: ignore[type-arg]  # generic to type checkers, not to the interpreter
    """A pointer; plain numbers are passed as C's int, which is shorter."""

    _type_ = "P"


def populate_pages() -> None:
    """Map all memory of this process, and copy what it may write to; older kernels leave that to the call."""
    madvise = load_libc_function("madvise")
    for start, end, advice in list_areas():
        try:
            madvise(_Address(start), _Address(end - start), advice)
        except OSError:
            pass  # nothing that a call could not do later


def look_up_proc() -> None:
    """Have the kernel make what calls look up of their process in /proc; the first look takes 0.04 ms."""
    for name in ("ns/net", "net/ip_tables_names"):
        try:
            os.stat(f"/proc/self/{name}")
        except OSError:
            pass  # no /proc here, or no such tables


def list_areas() -> list[tuple[int, int, int]]:
    """Return where private memory begins and ends, and the advice by which it is populated."""
    content = b""
    descriptor = os.open("/proc/self/maps", os.O_RDONLY | os.O_CLOEXEC)
    try:
        while piece := os.read(descriptor, _PIECE):
            content += piece
    finally:
        os.close(descriptor)
    lines = [line.split(maxsplit=2) for line in content.splitlines()]
    areas = [(words[0].split(b"-"), _ADVICE[words[1]]) for words in lines if words[1] in _ADVICE]
    return [(int(start, 16), int(end, 16), advice) for (start, end), advice in areas]
