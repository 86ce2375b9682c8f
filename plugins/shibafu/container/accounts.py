"""What runc reads in a container's root file system: /etc/passwd and /etc/group, before a program begins.

runc opens them from inside, and the container may have put a FIFO there, which keeps it waiting for a writer
for ever, or a device that has no end.
"""

import os
from stat import S_ISLNK, S_ISREG

from shibafu.container.errors import ContainerError

_FILES = ("etc/passwd", "etc/group")
_MAX_LINKS = 40  # as the kernel (path_resolution(7))
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def require_regular_accounts(name: str, rootfs: str) -> None:
    """Refuse a container whose passwd or group is something else than a file; they may be missing.

    Args:
        name: the container.
        rootfs: its root, whose links lead nowhere else.

    Raises:
        ContainerError: one of them is.
    """
    for file in _FILES:
        try:
            mode = _find_mode(rootfs, file)
        except OSError:
            continue  # missing, or what runc itself will say
        if not S_ISREG(mode):
            raise ContainerError(
                f"/{file} of container {name} is no regular file",
                "runc would wait for it; remove it, or the container: shibafu rm --force",
            )


def _find_mode(rootfs: str, path: str) -> int:
    """Return the mode of what a path inside a root leads to, st_mode of stat(2).

    Raises:
        OSError: it leads nowhere.
    """
    # From the root to where the walk is: `..` goes back there, whatever is moved meanwhile.
    descriptors = [os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
    rest = path.split("/")[::-1]
    links = 0
    try:
        while rest:
            part = rest.pop()
            if part == "..":
                if len(descriptors) > 1:
                    os.close(descriptors.pop())
            elif part not in ("", "."):
                descriptors.append(os.open(part, _PATH, dir_fd=descriptors[-1]))
                if S_ISLNK(os.fstat(descriptors[-1]).st_mode) and links < _MAX_LINKS:
                    links += 1
                    link = descriptors.pop()
                    try:
                        target = os.readlink("", dir_fd=link)
                    finally:
                        os.close(link)
                    rest += target.split("/")[::-1]
                    while target.startswith("/") and len(descriptors) > 1:
                        os.close(descriptors.pop())
        return os.fstat(descriptors[-1]).st_mode
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
