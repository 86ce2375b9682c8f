"""Memory of a forked process, which is shared with its parent until one of them writes to it.

A call writes to most of it, if only to count references, and each page costs a fault and a copy then, a third
of all that VERSION takes. A spare does that before it has a call.
"""

import os
from _ctypes import _SimpleCData

from shibafu.netlink.libc import load_libc_function

_MADV_POPULATE_WRITE = 23  # include/uapi/asm-generic/mman-common.h, since Linux 5.14
_PIECE = 1 << 16


class _Address(_SimpleCData):  # type: ignore[type-arg]  # generic to type checkers, not to the interpreter
    """A pointer; plain numbers are passed as C's int, which is shorter."""

    _type_ = "P"


def populate_pages() -> None:
    """Give this process its own copy of all memory that it may write to; older kernels leave it shared."""
    madvise = load_libc_function("madvise")
    for start, end in list_writable():
        try:
            madvise(_Address(start), _Address(end - start), _MADV_POPULATE_WRITE)
        except OSError:
            pass  # nothing that a call could not do later


def list_writable() -> list[tuple[int, int]]:
    """Return where private, writable memory begins and ends; see proc_pid_maps(5)."""
    content = b""
    descriptor = os.open("/proc/self/maps", os.O_RDONLY | os.O_CLOEXEC)
    try:
        while piece := os.read(descriptor, _PIECE):
            content += piece
    finally:
        os.close(descriptor)
    lines = [line.split() for line in content.splitlines()]
    areas = [words[0].split(b"-") for words in lines if words[1] == b"rw-p"]
    return [(int(start, 16), int(end, 16)) for start, end in areas]
