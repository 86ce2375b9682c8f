"""What the executables have for `os`: the system calls of `posix`, and the little else that they use.

The import of the real module costs 0.8 ms of every call, a tenth of its start, for classes and tables
that the plugins have no use for. The sources import `os` as anybody would; tests/dist/test_lean_os.py
holds that everything they use is here and does the same.
"""

from posix import *  # noqa: F403 - this is what the module is
from posix import (
    _exit,  # noqa: F401 - the star leaves it out
    getcwd,
    lstat,
    mkdir,
    readlink,
    stat,
)
from posix import environ as _environ

curdir, pardir, sep, linesep = ".", "..", "/", "\n"
SEEK_SET, SEEK_CUR, SEEK_END = 0, 1, 2

_S_IFMT, _S_IFDIR, _S_IFREG, _S_IFLNK = 0o170000, 0o040000, 0o100000, 0o120000
# Links that follow each other when a path is resolved, as in the kernel (path_resolution(7)).
_MAX_LINKS = 40


def fsdecode(name: "bytes | str") -> str:
    """Return a file name as text; bytes that are no UTF-8 become surrogates."""
    return name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")


def fsencode(name: "bytes | str") -> bytes:
    """Return a file name as bytes."""
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")


environ: dict[str, str] = {fsdecode(name): fsdecode(value) for name, value in _environ.items()}  # type: ignore[no-redef]


def makedirs(name: str, mode: int = 0o777, exist_ok: bool = False) -> None:
    """Make a directory and its missing parents; `mode` is the last one's."""
    try:
        try:
            mkdir(name, mode)
        except FileNotFoundError:
            makedirs(path.dirname(name), exist_ok=True)
            # Where nothing can be made, such as in /proc, this says the same again.
            mkdir(name, mode)
    except FileExistsError:
        if not exist_ok or not path.isdir(name):
            raise


class path:  # noqa: N801 - a module elsewhere
    """The part of `os.path` that is used."""

    @staticmethod
    def dirname(name: str) -> str:
        """Return all before the last slash."""
        head = name[: name.rfind("/") + 1]
        return head.rstrip("/") or head

    @staticmethod
    def isfile(name: str) -> bool:
        """Return whether there is a regular file, or a link to one."""
        return _kind(name, stat) == _S_IFREG

    @staticmethod
    def isdir(name: str) -> bool:
        """Return whether there is a directory, or a link to one."""
        return _kind(name, stat) == _S_IFDIR

    @staticmethod
    def lexists(name: str) -> bool:
        """Return whether there is anything, be it a link to nothing."""
        return _kind(name, lstat) != 0

    @staticmethod
    def realpath(name: str) -> str:
        """Return an absolute path without links; what does not exist is taken as it is."""
        rest = (name if name.startswith("/") else f"{getcwd()}/{name}").split("/")[::-1]
        done: list[str] = []
        links = 0
        while rest:
            part = rest.pop()
            if part in ("", curdir):
                continue
            if part == pardir:
                done = done[:-1]
                continue
            here = "/" + "/".join([*done, part])
            if links < _MAX_LINKS and _kind(here, lstat) == _S_IFLNK:
                links += 1
                target = readlink(here)
                done = [] if target.startswith("/") else done
                rest += target.split("/")[::-1]
            else:
                done.append(part)
        return "/" + "/".join(done)


def _kind(name: str, look: object) -> int:
    try:
        return look(name).st_mode & _S_IFMT  # type: ignore[operator, no-any-return]  # stat or lstat
    except (OSError, ValueError):
        return 0
