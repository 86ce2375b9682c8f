"""Processes of which there is one of a kind in a network namespace: the watcher, the agent of overlays."""

import fcntl
import os

from shibafu.cni.errors import TRY_AGAIN_LATER, CniError
from shibafu.cni.lock import DIRECTORY, Lock
from shibafu.lean.files import open_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# EX_TEMPFAIL of sysexits.h(3head), the exit code of one too many: its service does not start it again.
ALREADY_AT_WORK = 75
# Seconds that one which is ending, or somebody who asks whether there is one, may hold the lock.
_PATIENCE = 0.5


class SoleProcess(Lock):
    """What makes this process the only one of its kind in its network namespace, to be held by `with`.

    Args:
        kind: names the lock.
        what: the process, for people.
        refusal: returns what is raised if another one is at work.
    """

    __slots__ = ("_refusal",)

    def __init__(self, kind: str, what: str, refusal: "Callable[[], Exception]") -> None:
        super().__init__(_calc_name(kind), what, handed_down=False, patience=_PATIENCE)
        self._refusal = refusal

    def __enter__(self) -> Lock:
        """Take the lock.

        Raises:
            Exception: the refusal.
            CniError: the directory of locks is not ours.
        """
        try:
            return super().__enter__()
        except CniError as error:
            if error.code != TRY_AGAIN_LATER:
                raise
            raise self._refusal() from None


def is_at_work(kind: str) -> bool:
    """Return whether a process of a kind is at work in this network namespace."""
    try:
        descriptor = open_file(f"{DIRECTORY}/{_calc_name(kind)}", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _calc_name(kind: str) -> str:
    return f"{kind}-{os.stat('/proc/self/ns/net').st_ino}"
