"""Locks between runtimes: one operation at a time on a container, and none beside GC on a network.

A lock is a file that is locked with flock(2) and deleted by whoever leaves last, so that nothing is
left behind, and what a killed process leaves is an empty file that locks nobody out. Plugins inherit
it: one that outlives a killed caller keeps the lock until it is done, and a DEL waits for its ADD.
"""

import fcntl
import os

DIRECTORY = "/run/shibafu/locks"


class Lock:
    """One lock, as a context manager that may be entered again by its holder.

    Args:
        name: what is locked, a valid file name.
        shared: whether others may hold it shared at the same time.
        directory: where the files are.
    """

    __slots__ = ("_depth", "_descriptor", "_operation", "path")

    def __init__(self, name: str, shared: bool = False, directory: str = DIRECTORY) -> None:
        self.path = f"{directory}/{name}"
        self._operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._descriptor = -1
        self._depth = 0

    def __enter__(self) -> "Lock":
        if self._depth == 0:
            self._descriptor = self._acquire()
        self._depth += 1
        return self

    def __exit__(self, *exception: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._release()

    def _acquire(self) -> int:
        while True:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, self._operation)
            except BaseException:
                os.close(descriptor)
                raise
            # Who held it may have deleted the file while this process waited.
            if os.fstat(descriptor).st_nlink:
                os.set_inheritable(descriptor, True)
                return descriptor
            os.close(descriptor)

    def _open(self) -> int:
        while True:
            try:
                return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)

    def _release(self) -> None:
        try:
            # Whoever waits exclusively, or still shares it, deletes the file in our place.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(self.path)
        except OSError:
            pass  # others hold it
        finally:
            # Closing is not enough where a plugin has left a daemon behind.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1
