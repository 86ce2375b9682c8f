"""Reading what a container in the background has printed, while its monitor begins new files."""

import os
from pathlib import Path
from typing import BinaryIO

from shibafu.lean.files import open_file

_PIECE = 1 << 16


class LogReader:
    """What is kept of a container's output, from its beginning; see shibafu.monitor.log_writer.

    Args:
        path: the log. The file before it is called `<path>.1`.

    Raises:
        OSError: there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._former_path = path.with_name(f"{path.name}.1")
        # In this order, here and later: which is the former file after one was opened comes just before that.
        self._file = self._open(path)
        try:
            former = self._open(self._former_path)
        except FileNotFoundError:
            return
        self._file.close()
        self._file = former

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self) -> bytes:
        """Return the next piece; empty when there is no more for now."""
        while True:
            piece = self._file.read(_PIECE)
            if piece or self._is(self._path):
                return piece
            # A new file has been begun since, perhaps after more was written to this one.
            piece = self._file.read(_PIECE)
            if piece:
                return piece
            self._go_on()

    def _go_on(self) -> None:
        following = self._open(self._path)
        if not self._is(self._former_path):
            # More than one was begun; those that are gone were not read in time.
            following.close()
            following = self._open(self._former_path)
        self._file.close()
        self._file = following

    def _open(self, path: Path) -> BinaryIO:
        return open(path, "rb", buffering=0, opener=open_file)

    def _is(self, path: Path) -> bool:
        """Return whether the open file has that name; one that was removed has not got another."""
        try:
            return os.path.samestat(path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return True
