"""The log of a container: what it prints, up to a size.

    log      what it printed last
    log.1    what it printed before that; what is older is gone

It comes through a pipe, so that the container can neither read nor cut what is kept, nor choose who else may.
"""

import os

from shibafu.lean.files import open_file

# Bytes of each of the two files.
LIMIT = 10 << 20
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND


class LogWriter:
    """A log that is written to.

    Args:
        path: the file.
        limit: the most that it holds, in bytes.
    """

    __slots__ = ("_limit", "_path", "_size", "descriptor")

    def __init__(self, path: str, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit
        self.descriptor = open_file(path, _FLAGS)
        self._size = os.fstat(self.descriptor).st_size

    def write(self, content: bytes) -> None:
        """Keep what was printed, unless the disk is full: that must not keep the container from its work."""
        try:
            if self._size and self._size + len(content) > self._limit:
                self._rotate()
            while content:
                written = os.write(self.descriptor, content)
                self._size += written
                content = content[written:]
        except OSError:
            pass

    def _rotate(self) -> None:
        """Begin a new file. At each moment, each name leads to a whole file: people may be reading them."""
        new, former = f"{self._path}.new", f"{self._path}.former"
        descriptor = open_file(new, _FLAGS | os.O_TRUNC)
        try:
            if os.path.lexists(former):
                os.unlink(former)  # of a monitor that was killed
            os.link(self._path, former)
            os.rename(former, f"{self._path}.1")
            os.rename(new, self._path)
            os.dup2(descriptor, self.descriptor, inheritable=False)
            self._size = 0
        finally:
            os.close(descriptor)
