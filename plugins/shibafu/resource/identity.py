"""Which network namespace is at a path.

A path says little: `ip netns del` and `ip netns add` put another namespace there, and processes' numbers are
given out again. So are the inode numbers of namespaces, the lowest free one first: the next namespace often
has the last one's. The kernel counts namespaces, too, and never gives the same cookie twice in a boot
(SO_NETNS_COOKIE, socket(7), Linux 5.14). Where it lacks that, path and inode have to do.
"""

import os

from shibafu.cni.boot import read_boot_id
from shibafu.netlink.namespace import entered, open_netns, read_own_cookie

_MOUNTS = "/proc/self/ns/mnt"
_PROCESSES = "/proc/self/ns/pid"


class NetnsIdentity:
    """A network namespace as it was seen at a path.

    Args:
        path: the path.
        inode: its inode number; 0 when that is unknown.
        cookie: the kernel's number for it, unique within the boot; None where the kernel has none.
        boot: the kernel's name of the boot; empty when that is unknown.
        processes: for a path below /proc, the inode number of the process namespace that numbers them so;
            0 for another path, or when that is unknown.
    """

    __slots__ = ("boot", "cookie", "inode", "path", "processes")

    def __init__(
        self, path: str, inode: int, cookie: int | None = None, boot: str = "", processes: int = 0
    ) -> None:
        self.path = path
        self.inode = inode
        self.cookie = cookie
        self.boot = boot
        self.processes = processes

    @property
    def number(self) -> tuple[int, int | None]:
        """Inode number and cookie."""
        return self.inode, self.cookie

    def has_ended(self) -> bool:
        """Return whether the namespace is certainly no longer at its path: nothing is, or another one.

        One that may not be looked at counts as being there, and so does that of a process which is not
        numbered so here.
        """
        if self.boot and read_boot_id() not in ("", self.boot):
            return True
        if self.processes and self.processes != find_process_namespace(self.path):
            return False
        if has_vanished(self.path):
            return True
        try:
            if self.inode and os.stat(self.path).st_ino != self.inode:
                return True
            cookie = read_cookie_at(self.path) if self.cookie is not None else None
        except OSError:
            return False
        return cookie is not None and cookie != self.cookie

    def is_there(self) -> bool:
        """Return whether the namespace is still at its path, for a process in the same process namespace."""
        return self.processes == find_process_namespace(self.path) and not self.has_ended()

    def to_json(self) -> dict[str, object]:
        """Return it for JSON without the path, which the caller stores."""
        return {
            "inode": self.inode,
            "cookie": self.cookie,
            "boot": self.boot,
            "processes": self.processes,
        }

    @classmethod
    def from_json(cls, path: str, value: object) -> "NetnsIdentity | None":
        """Return what `to_json` made; None if it is invalid."""
        if not isinstance(value, dict):
            return None
        inode, cookie, boot, processes = (value.get(key) for key in ("inode", "cookie", "boot", "processes"))
        if not (isinstance(inode, int) and isinstance(boot, str) and isinstance(processes, int)):
            return None
        return cls(path, inode, cookie if isinstance(cookie, int) else None, boot, processes)


def identify_netns(path: str) -> NetnsIdentity | None:
    """Return the identity of the namespace at a path; None when there is none."""
    try:
        descriptor = open_netns(path)
    except OSError:
        return None
    try:
        return identify_open_netns(path, descriptor, _read_cookie_of(descriptor))
    finally:
        os.close(descriptor)


def identify_open_netns(path: str, descriptor: int, cookie: int | None) -> NetnsIdentity:
    """Return the identity of a namespace that was opened at a path, and whose cookie is known."""
    inode = os.fstat(descriptor).st_ino
    return NetnsIdentity(path, inode, cookie, read_boot_id(), find_process_namespace(path))


def find_process_namespace(path: str) -> int:
    """Return the inode number of the process namespace that a path below /proc is of; 0 for other paths."""
    try:
        return os.stat(_PROCESSES).st_ino if path.startswith("/proc/") else 0
    except OSError:
        return 0


def has_vanished(path: str) -> bool:
    """Return whether there is certainly no namespace at a path, for a process that sees the same mounts.

    One that was never recorded, or that may not be looked at, counts as being there. All namespaces are files
    of one file system, nsfs; a mount point whose namespace was unmounted is not.
    """
    if not path.startswith("/"):
        return False
    try:
        return os.stat(path).st_dev != os.stat(_MOUNTS).st_dev
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return True
    except OSError:
        return False


def is_same_netns(path_a: str, path_b: str) -> bool:
    """Return whether two paths lead to the same existing namespace."""
    try:
        a, b = os.stat(path_a), os.stat(path_b)
    except (OSError, ValueError):
        return False
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def read_cookie_at(path: str) -> int | None:
    """Return the cookie of the namespace at a path; None when it cannot be had.

    Raises:
        OSError: there is no namespace.
    """
    descriptor = open_netns(path)
    try:
        return _read_cookie_of(descriptor)
    finally:
        os.close(descriptor)


def _read_cookie_of(descriptor: int) -> int | None:
    has_entered = False
    try:
        with entered(descriptor):
            has_entered = True
            return read_own_cookie()
    except PermissionError:
        if has_entered:
            raise  # the way back was refused
        return None  # only a process that may enter it can ask
