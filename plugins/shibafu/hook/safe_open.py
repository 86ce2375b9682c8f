"""Opening a file that others name or can reach, without being led elsewhere.

A path is walked directory by directory, each opened relative to the one before and none through a link, so
that what a container does to its directories in the meantime changes nothing. This is what openat2(2) has
RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS for, and it works with every kernel.
"""

import os
from stat import S_ISDIR, S_ISLNK, S_ISREG

from shibafu.cni.errors import INVALID_CONFIG, IO_FAILURE, CniError
from shibafu.hook.forbidden_paths import find_identity, identify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.hook.forbidden_paths import ForbiddenPaths, Identity

_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40  # as the kernel (path_resolution(7))


def open_beneath(
    directory: str, identity: "Identity | None", path: str, refused: "ForbiddenPaths", creates: bool
) -> int:
    """Open a file inside a directory for reading and writing.

    Args:
        directory: the directory.
        identity: what it is; another one that has been put in its place is refused.
        path: relative to it; neither `..` nor links are followed.
        refused: what a path must not lead through or to.
        creates: whether a file that is missing is made.

    Returns:
        The descriptor of a regular file that has this one name.

    Raises:
        CniError: it is something else, or cannot be opened.
        FileNotFoundError: it is missing and not made.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or path.startswith("/"):
        raise CniError(
            INVALID_CONFIG, f'"{path}" is not a file inside the bundle', "use a path relative to the bundle"
        )
    return _open(directory, identity, parts, path, refused, creates, follows=False)


def open_absolute(path: str, refused: "ForbiddenPaths") -> int:
    """Open the file at an absolute path for reading and writing, making it when it is missing.

    Links to directories are followed, as the administrator may have them, but not out of a refused directory.

    Raises:
        CniError: as `open_beneath`.
    """
    return _open("/", find_identity("/"), path.split("/"), path, refused, creates=True, follows=True)


def _open(
    top: str,
    identity: "Identity | None",
    parts: list[str],
    path: str,
    refused: "ForbiddenPaths",
    creates: bool,
    follows: bool,
) -> int:
    try:
        directory = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if identify(os.fstat(directory)) != identity:
                raise CniError(INVALID_CONFIG, f"{top} was replaced while the container was being created")
            _require_other(directory, path, refused)
            _descend(directory, parts[:-1], path, refused, follows)
            return _open_last(directory, parts[-1], path, refused, creates)
        finally:
            os.close(directory)
    except FileNotFoundError as error:
        if not creates:
            raise
        raise CniError(IO_FAILURE, f"cannot open {path}: {error.strerror}") from None
    except OSError as error:
        raise CniError(IO_FAILURE, f"cannot open {path}: {error.strerror}") from None
    except ValueError:  # NUL, or what no file name can be encoded from
        raise CniError(INVALID_CONFIG, f"{path!r} is not a path") from None


def _descend(directory: int, parts: list[str], path: str, refused: "ForbiddenPaths", follows: bool) -> None:
    """Have a directory's descriptor stand for a descendant of it."""
    links = 0
    rest = parts[::-1]
    while rest:
        part = rest.pop()
        if part in ("", "."):
            continue
        inner = os.open(part, _PATH, dir_fd=directory)
        try:
            status = os.fstat(inner)
            if S_ISLNK(status.st_mode) and follows and links < _MAX_LINKS:
                links += 1
                target = os.readlink("", dir_fd=inner)
                rest += target.split("/")[::-1]
                part = "/" if target.startswith("/") else "."
                again = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
                os.close(inner)
                inner, status = again, os.fstat(again)
            if not S_ISDIR(status.st_mode):
                what = "a link" if S_ISLNK(status.st_mode) else "no directory"
                raise CniError(INVALID_CONFIG, f'"{part}" in {path} is {what}', "use a regular file")
            _require_other(inner, path, refused)
            os.dup2(inner, directory, inheritable=False)
        finally:
            os.close(inner)


def _open_last(directory: int, name: str, path: str, refused: "ForbiddenPaths", creates: bool) -> int:
    """Open a file in a directory: looked at first, since to open a FIFO or a device is to use it."""
    try:
        seen = os.open(name, _PATH, dir_fd=directory)
    except FileNotFoundError:
        if not creates:
            raise
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        made = os.open(name, flags, 0o600, dir_fd=directory)
        os.fchmod(made, 0o644)  # whatever the umask is: the container's users read it
        return made
    try:
        status = os.fstat(seen)
        _require_other(seen, path, refused)
        if not S_ISREG(status.st_mode) or status.st_nlink != 1:
            what = "has other names" if S_ISREG(status.st_mode) else "is not a regular file"
            raise CniError(INVALID_CONFIG, f"{path} {what}", "use a regular file with one link")
        return os.open(f"/proc/self/fd/{seen}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(seen)


def _require_other(descriptor: int, path: str, refused: "ForbiddenPaths") -> None:
    if refused.covers(descriptor):
        raise CniError(
            INVALID_CONFIG,
            f"{path} belongs to the container, the engine or the host",
            "use a file in the bundle that serves no other purpose",
        )
