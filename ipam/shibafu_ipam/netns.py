"""Whether a container's network namespace is still there; without it, its addresses are of no use."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu_ipam.records import Record

_MOUNTS = "/proc/self/ns/mnt"
_PROCESSES = "/proc/self/ns/pid"


def calc_view(path: str) -> str:
    """Return from where the network namespace at `path` is seen, empty when it is not seen from here.

    A path means something to those who have the same mounts; below /proc, to those who also number
    processes alike. All namespaces are files of one file system, nsfs; a mount point whose namespace
    was unmounted is not.
    """
    try:
        mounts = os.stat(_MOUNTS)
        if os.stat(path).st_dev != mounts.st_dev:
            return ""
        view = str(mounts.st_ino)
        return f"{view}.{os.stat(_PROCESSES).st_ino}" if path.startswith("/proc/") else view
    except OSError:
        return ""


def has_vanished(path: str) -> bool:
    """Tell whether the namespace that somebody with our view saw at `path` is certainly gone.

    One that was never recorded, or that may not be looked at, counts as being there.
    """
    if not path.startswith("/"):
        return False
    try:
        return os.stat(path).st_dev != os.stat(_MOUNTS).st_dev
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return True
    except OSError:
        return False


def is_abandoned(record: "Record | None") -> bool:
    """Tell whether the namespace of an attachment is certainly gone.

    What was recorded from elsewhere, or by a version that did not say from where, counts as being
    there: an address that is kept too long costs an address, one that is given away too early two
    containers their network.
    """
    if record is None or not record.view:
        return False
    mounts, _, processes = record.view.partition(".")
    try:
        is_ours = str(os.stat(_MOUNTS).st_ino) == mounts and (
            not processes or str(os.stat(_PROCESSES).st_ino) == processes
        )
    except OSError:
        return False
    return is_ours and has_vanished(record.netns)
