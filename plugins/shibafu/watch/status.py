"""The only watcher of a namespace, and what others read of it: `/run/shibafu/watch/<inode>.json`."""

import os
from fcntl import LOCK_NB, LOCK_SH, flock

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.cni.errors import TRY_AGAIN_LATER, CniError
from shibafu.cni.lock import DIRECTORY as LOCKS
from shibafu.cni.lock import Lock
from shibafu.lean.files import open_file, read_file, remove_file, replace_file
from shibafu.lean.json import dumps, loads
from shibafu.networks.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# EX_TEMPFAIL of sysexits.h(3head); the service does not restart a watcher that ends with it.
ALREADY_WATCHED = 75
_ROOT = "/run/shibafu"
_DIRECTORY = f"{_ROOT}/watch"
_LARGEST = 1 << 20
# Seconds that a watcher which is ending, or somebody who asks whether there is one, may hold the lock.
_PATIENCE = 0.5
# What is said where no watcher is at work.
_ABSENT = {"running": False, "pid": 0, "started": 0.0, "heals": [], "last": [], "contested": [], "lost": []}


class WatcherLock(Lock):
    """What makes a process the only watcher of its namespace, to be held by `with`."""

    def __init__(self) -> None:
        super().__init__(_calc_lock(), "the watcher", handed_down=False, patience=_PATIENCE)

    def __enter__(self) -> Lock:
        """Take the lock.

        Raises:
            CommandError: another watcher has it.
        """
        try:
            return super().__enter__()
        except CniError as error:
            if error.code != TRY_AGAIN_LATER:
                raise
            raise CommandError(
                "another watcher is at work here",
                "`shibafu watch status` shows what it does",
                ALREADY_WATCHED,
            ) from None


def is_watched() -> bool:
    """Return whether a watcher is at work in this namespace."""
    try:
        descriptor = open_file(f"{LOCKS}/{_calc_lock()}", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        flock(descriptor, LOCK_SH | LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def write_watch_status(status: "Mapping[str, object]") -> None:
    """Write the status where `read_watch_status` finds it.

    Raises:
        OSError: it cannot be written.
        CniError: others could write there.
    """
    secure_directories(_ROOT, _DIRECTORY)
    make_directory(_DIRECTORY, 0o755)
    replace_file(_calc_path(), dumps(dict(status)).encode())


def remove_watch_status() -> None:
    """Remove the status."""
    remove_file(_calc_path())


def read_watch_status() -> "dict[str, Any]":
    """Return what the watcher of this namespace wrote last, if one is at work."""
    if not is_watched():
        return dict(_ABSENT)
    try:
        status = loads(read_file(_calc_path(), _LARGEST) or b"{}")
    except (OSError, ValueError):
        status = {}
    # It may just have begun.
    return {**_ABSENT, "running": True, **(status if isinstance(status, dict) else {})}


def _calc_path() -> str:
    return f"{_DIRECTORY}/{os.stat('/proc/self/ns/net').st_ino}.json"


def _calc_lock() -> str:
    return f"watch-{os.stat('/proc/self/ns/net').st_ino}"
