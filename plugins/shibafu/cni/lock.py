"""Locks between processes: files that are locked with flock(2), with a limit on how long to wait.

A lock is deleted by the last to leave it, so that nothing is left behind; what a killed process leaves
is an empty file that locks nobody out. Such files are in a directory of ours that nobody else can open
anything in: who can open a file can lock it, so that what containers can open, be it the file of their
own network namespace, is not a lock.
"""

import fcntl
import os

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.lean.files import NotRegularError, open_file

_ROOT = "/run/shibafu"
DIRECTORY = f"{_ROOT}/locks"
# Seconds to wait. Healthy calls hold locks for milliseconds, those that ask a DHCP server for up to a minute.
PATIENCE = 60.0
# Between looks: not so long that it shows, and not so short that a crowd keeps the holder from its work.
_SHORTEST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.01


def lock_file(descriptor: int, operation: int, what: str, patience: float = PATIENCE) -> None:
    """Lock an open file, and wait for it for some time only.

    Args:
        descriptor: the file.
        operation: LOCK_SH or LOCK_EX. A lock that was held otherwise is lost if this one cannot be had.
        what: what is locked, for the error.
        patience: how many seconds to wait.

    Raises:
        CniError: TRY_AGAIN_LATER, and who holds it.
    """
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        _wait_for_lock(descriptor, operation, what, patience)


def _wait_for_lock(descriptor: int, operation: int, what: str, patience: float) -> None:
    # Not by an alarm(2) that interrupts flock(2): that is the whole process's, and only the main thread's.
    from time import monotonic, sleep

    deadline = monotonic() + patience
    pause = _SHORTEST_PAUSE
    while True:
        sleep(pause)
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if monotonic() >= deadline:
                from shibafu.cni.failures import describe_held_lock

                raise describe_held_lock(descriptor, what, patience) from None
        pause = min(pause * 1.5, _LONGEST_PAUSE)


class Lock:
    """One lock, as a context manager that may be entered again by its holder.

    Args:
        name: the file.
        what: what is locked, for people.
        shared: whether others may hold it shared at the same time.
        directory: where the files are.
        handed_down: whether programs that are started meanwhile hold it, too, for as long as they run: one
            that outlives a killed caller keeps the lock until it is done.
        patience: how many seconds to wait for it.
    """

    __slots__ = ("_depth", "_descriptor", "_handed_down", "_operation", "_patience", "_what", "path")

    def __init__(
        self,
        name: str,
        what: str,
        shared: bool = False,
        directory: str = DIRECTORY,
        handed_down: bool = True,
        patience: float = PATIENCE,
    ) -> None:
        self.path = f"{directory}/{name}"
        self._what = what
        self._operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._handed_down = handed_down
        self._patience = patience
        self._descriptor = -1
        self._depth = 0

    def __enter__(self) -> "Lock":
        """Wait for the lock.

        Raises:
            CniError: it is held for long, or its directory is not ours.
        """
        if self._depth == 0:
            self._descriptor = self._acquire()
        self._depth += 1
        return self

    def __exit__(self, *exception: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._release()

    def _acquire(self) -> int:
        directory = os.path.dirname(self.path)
        # What is above another directory than the usual one is not ours.
        secure_directories(*([_ROOT] if directory == DIRECTORY else []), directory)
        while True:
            descriptor = self._open(directory)
            try:
                lock_file(descriptor, self._operation, self._what, self._patience)
            except BaseException:
                # Ctrl-C and SIGTERM, too, come while it waits.
                os.close(descriptor)
                raise
            # Who held it may have deleted the file while this process waited.
            if os.fstat(descriptor).st_nlink:
                if self._handed_down:
                    os.set_inheritable(descriptor, True)
                return descriptor
            os.close(descriptor)

    def _open(self, directory: str) -> int:
        while True:
            try:
                descriptor = open_file(self.path, os.O_RDWR | os.O_CREAT)
            except FileNotFoundError:
                make_directory(directory, 0o700)
                continue
            except NotRegularError:
                from shibafu.cni.failures import remove_tree

                remove_tree(self.path)
                continue
            found = os.fstat(descriptor)
            if found.st_uid == os.geteuid() and not found.st_mode & 0o077:
                return descriptor
            # Others could open it, and may have locked it, while the directory was open to them.
            os.close(descriptor)
            os.unlink(self.path)

    def _release(self) -> None:
        try:
            # Who waits for it exclusively, or still shares it, deletes the file in our place.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(self.path)
        except OSError:
            pass  # others hold it
        finally:
            # Closing is not enough where a plugin has left a daemon behind.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1
