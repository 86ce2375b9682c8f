"""Opening files where there may be something else, which is never waited for and never followed.

A FIFO would be waited for until somebody opens its other end, a symbolic link leads to somebody else's file,
a directory or a device is of no use. One error stands for all of them, and names what is there.
"""

import os
from _stat import S_ISDIR, S_ISREG
from errno import EISDIR, ELOOP, ENAMETOOLONG, ENODEV, ENOENT, ENOSPC, ENXIO, EROFS

# What open(2) says of some; ENXIO is a socket, or a FIFO that nobody reads.
_KINDS = {
    EISDIR: "is a directory, not a file",
    ELOOP: "is a symbolic link, not a file",
    ENXIO: "is not a regular file",
    ENODEV: "is not a regular file",
}
# What is read at once: most files are smaller.
_USUAL_SIZE = 4096


class NotRegularError(OSError):
    """Where a file should be there is something else: a directory, a symbolic link, a FIFO, a device."""


def open_file(path: str, flags: int, mode: int = 0o600, follow: bool = False) -> int:
    """Open a regular file; the caller closes the descriptor.

    Args:
        path: the file. One whose name is too long to be a file's is not there.
        flags: as of open(2).
        mode: as of open(2), for a file that is made.
        follow: whether the path may be a symbolic link, which an administrator has made.

    Raises:
        NotRegularError: it is not a regular file.
        OSError: it cannot be opened.
    """
    safe = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags | safe, mode)
    except OSError as error:
        if error.errno == ENAMETOOLONG and not flags & os.O_CREAT:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path) from None
        if error.errno not in _KINDS:
            raise
        raise NotRegularError(error.errno, _KINDS[error.errno], path) from None
    mode = os.fstat(descriptor).st_mode
    if not S_ISREG(mode):
        os.close(descriptor)
        kind = EISDIR if S_ISDIR(mode) else ENXIO
        raise NotRegularError(kind, _KINDS[kind], path)
    return descriptor


def read_file(path: str, limit: int, follow: bool = False) -> bytes | None:
    """Return the content of a file, up to `limit` bytes; None when there is no file."""
    try:
        descriptor = open_file(path, os.O_RDONLY, follow=follow)
    except FileNotFoundError:
        return None
    try:
        # Not by the size that the file system states: files of the kernel have none.
        content = os.read(descriptor, min(limit, _USUAL_SIZE))
        if len(content) == _USUAL_SIZE < limit:
            size = min(limit, os.fstat(descriptor).st_size)
            content += os.read(descriptor, max(size - _USUAL_SIZE, 0))
        return content
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)


def write_file(path: str, content: bytes, flags: int = 0, mode: int = 0o600) -> None:
    """Write a file whole.

    Args:
        path: the file.
        content: what it is to hold.
        flags: further ones, as of open(2).
        mode: as of open(2), for a file that is made.

    Raises:
        OSError: also when the disk took only a part of it.
    """
    descriptor = open_file(path, os.O_WRONLY | os.O_CREAT | flags, mode)
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        # Not O_TRUNC: ext4 takes a file that was emptied first for one to be flushed to the disk at once.
        os.ftruncate(descriptor, len(content))
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)


def replace_file(path: str, content: bytes, mode: int = 0o600) -> None:
    """Write a file that others read at the same time: they find the old content or the new one.

    Args:
        path: the file.
        content: what it is to hold.
        mode: its mode.

    Raises:
        OSError: it cannot be written.
    """
    new = f"{path}.new-{os.getpid()}"
    try:
        write_file(new, content, mode=mode)
        os.replace(new, path)
    except OSError:
        remove_file(new)
        raise


def publish_file(path: str, content: bytes) -> None:
    """Replace a file that everybody may read, at a path that an administrator has chosen.

    Raises:
        NotRegularError: there is something else, such as /dev/null, which would be replaced, or a symbolic
            link, which somebody else may have put there.
        OSError: it cannot be written.
    """
    try:
        # Opened for nothing but the question what it is.
        os.close(open_file(path, os.O_WRONLY))
    except FileNotFoundError:
        pass
    try:
        replace_file(path, content, mode=0o644)
    except OSError as error:
        error.filename, error.filename2 = path, None
        raise


def remove_file(path: str) -> bool:
    """Remove a file; return whether there was one."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        # A read-only file system says so before it looks; no file has a name that is too long.
        if error.errno == ENAMETOOLONG or (error.errno == EROFS and not os.path.lexists(path)):
            return False
        raise
    return True
