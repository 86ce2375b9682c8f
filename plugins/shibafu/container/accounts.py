"""What runc reads in a container's root file system: /etc/passwd and /etc/group, before a program begins.

runc opens them from inside, and the container may have put a FIFO there, which keeps it waiting for a writer
for ever, or a device that has no end.
"""

import os
from collections.abc import Mapping
from errno import ELOOP
from stat import S_ISLNK, S_ISREG

from shibafu.container.errors import ContainerError

_FILES = ("etc/passwd", "etc/group")
_MAX_LINKS = 40  # as the kernel (path_resolution(7))
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def require_regular_accounts(name: str, rootfs: str, mounts: Mapping[str, str]) -> None:
    """Refuse a container whose passwd or group is not a regular file; they may be missing.

    Args:
        name: the container.
        rootfs: its root, whose links lead nowhere else.
        mounts: what will be mounted there: the path inside, without the first slash, and the directory or
            file that it shows; empty where that is a file system of the kernel's.

    Raises:
        ContainerError: one of them is.
    """
    for file in _FILES:
        try:
            is_regular = _is_regular(rootfs, file, mounts)
        except OSError:
            continue  # missing, or what runc itself will say
        if not is_regular:
            raise ContainerError(
                f"/{file} of container {name} is not a regular file",
                "runc would block on it; remove it, or the container: shibafu rm --force",
            )


def _is_regular(rootfs: str, path: str, mounts: Mapping[str, str]) -> bool:
    """Return whether a path inside a root leads to a regular file.

    Raises:
        OSError: it leads nowhere.
    """
    # From the root to where the walk is: `..` goes back there, whatever is moved meanwhile.
    descriptors = [os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
    names: list[str] = []
    rest = path.split("/")[::-1]
    links = 0
    try:
        while rest:
            part = rest.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if names:
                    names.pop()
                    os.close(descriptors.pop())
                continue
            source = mounts.get("/".join([*names, part]))
            if source == "":
                return False
            if source is not None:
                inner = os.open(source, os.O_PATH | os.O_CLOEXEC)
            else:
                inner = os.open(part, _PATH, dir_fd=descriptors[-1])
            names.append(part)
            descriptors.append(inner)
            if S_ISLNK(os.fstat(inner).st_mode):
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(ELOOP, os.strerror(ELOOP), path)
                target = os.readlink("", dir_fd=inner)
                rest += target.split("/")[::-1]
                # Back to the link's directory, or to the root.
                for _ in range(len(names) if target.startswith("/") else 1):
                    names.pop()
                    os.close(descriptors.pop())
        return S_ISREG(os.fstat(descriptors[-1]).st_mode)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
