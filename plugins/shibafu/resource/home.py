"""The directory of the network namespace that this process is in: `/run/shibafu/<inode>`.

Links and rules are the namespace's, and so is what is remembered of them. Inode numbers are used again, so
that a symbolic link next to the networks, `.netns`, says whose directory it is: its target is the namespace's
cookie and the boot, `<cookie>.<boot>`. Directories of earlier releases have none, and count as this one's.
"""

import os
from errno import EINVAL

from shibafu.cni.boot import read_boot_id
from shibafu.netlink.namespace import read_own_cookie

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.netlink.socket import NetlinkSocket

MARK = ".netns"
# The policies of all namespaces, compiled; missing while there are none. See `policy.host_policies`.
POLICIES = "/var/lib/shibafu/policy"


def find_home(root: str, sock: "NetlinkSocket | None" = None) -> tuple[str, bool, str]:
    """Return the namespace's directory, which may be missing, whether it is marked, and the namespace's mark.

    The last is empty where it was not needed. A directory that another namespace has left is removed: it
    names links that went with that.

    Args:
        root: the directory of all namespaces' directories.
        sock: see `calc_mark`.
    """
    home = f"{root}/{os.stat('/proc/self/ns/net').st_ino}"
    mark = _read_mark(home)
    own = calc_mark(sock) if mark or sock is not None else ""
    if mark and _is_of_another(mark, own):
        _remove_stale(home)
        mark = ""
    return home, bool(mark), own


def calc_mark(sock: "NetlinkSocket | None" = None) -> str:
    """Return what names this namespace: its cookie, 0 where that is unknown, and the boot.

    Args:
        sock: a socket of this namespace, which tells the cookie; without one, another is made.
    """
    cookie = read_own_cookie() if sock is None else sock.read_netns_cookie()
    return f"{cookie or 0}.{read_boot_id()}"


def is_first_namespace() -> bool:
    """Return whether this process is in the network namespace of process 1, which outlasts a restart."""
    try:
        return os.path.samestat(os.stat("/proc/1/ns/net"), os.stat("/proc/self/ns/net"))
    except OSError:
        return False  # a process that may not look at that one, or has no /proc


def find_policies_file(inode: int | str) -> str:
    """Return the file that has the policies of this process's namespace, if there are any.

    Args:
        inode: of the namespace.
    """
    if is_first_namespace():
        return f"{POLICIES}/compiled.json"
    # Inode numbers are used again, and the file may outlast the namespace.
    return f"{POLICIES}/{inode}.{calc_mark()}.json"


def has_policies(home: str) -> bool:
    """Return whether there are policies, for the namespace whose directory that is."""
    # This look is all that calls on a host without policies pay for.
    return os.path.lexists(POLICIES) and os.path.lexists(find_policies_file(home.rpartition("/")[2]))


def mark_home(home: str, own: str) -> None:
    """Mark the directory as this namespace's, whose mark is `own`, if it exists."""
    try:
        os.symlink(own, f"{home}/{MARK}")
    except OSError:
        pass  # another call was first; or it cannot be written to, which the record's writer says


def remove_empty_home(home: str) -> None:
    """Remove the directory if it no longer contains any network's records."""
    try:
        if set(os.listdir(home)) <= {MARK}:
            _unlink_mark(home)
            os.rmdir(home)
    except OSError:
        # An ADD has begun meanwhile.
        mark_home(home, calc_mark())


def list_network_directories(home: str) -> list[str]:
    """Return the networks of which there are records.

    Raises:
        FileNotFoundError: the directory is missing.
    """
    return [name for name in os.listdir(home) if name != MARK]


def _read_mark(home: str) -> str:
    try:
        return os.readlink(f"{home}/{MARK}")
    except OSError as error:
        # Anything but a symbolic link says nothing.
        return "." if error.errno == EINVAL else ""


def _is_of_another(mark: str, own: str) -> bool:
    """Return whether a mark is certainly another namespace's; what is not known is not compared."""
    if mark == own:
        return False
    cookie, _, boot = mark.partition(".")
    own_cookie, _, own_boot = own.partition(".")
    has_other_cookie = cookie.isdecimal() and cookie != own_cookie and "0" not in (cookie, own_cookie)
    return has_other_cookie or bool(boot and own_boot and boot != own_boot)


def _remove_stale(home: str) -> None:
    from shibafu.cni.failures import remove_tree
    from shibafu.cni.lock import Lock

    with Lock(f"records-{home.rpartition('/')[2]}", f"directory {home}", handed_down=False):
        mark = _read_mark(home)
        if not mark or not _is_of_another(mark, calc_mark()):
            return  # another call was first
        # The mark last, so that the next call goes on where this one is killed.
        for name in list_network_directories(home):
            remove_tree(f"{home}/{name}")
        _unlink_mark(home)


def _unlink_mark(home: str) -> None:
    try:
        os.unlink(f"{home}/{MARK}")
    except FileNotFoundError:
        pass
