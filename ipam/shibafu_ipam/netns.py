"""Whether a container's network namespace is still there; without it, its addresses are of no use."""

import os


def is_netns(path: str) -> bool:
    """Tell whether `path` is a network namespace that can be seen from here.

    All namespaces are files of one file system, nsfs; a mount point whose namespace was unmounted is not.
    """
    try:
        return os.stat(path).st_dev == os.stat("/proc/self/ns/net").st_dev
    except OSError:
        return False


def has_vanished(path: str) -> bool:
    """Tell whether the namespace that was recorded at `path` is certainly gone.

    One that was never recorded, or that may not be looked at, counts as being there.
    """
    if not path.startswith("/"):
        return False
    try:
        return os.stat(path).st_dev != os.stat("/proc/self/ns/net").st_dev
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return True
    except OSError:
        return False
