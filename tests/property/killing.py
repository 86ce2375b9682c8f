"""Killing a call between any two system calls, or in the middle of one, inside the test's own process."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

# Everything that changes the disk.
_CHANGES = ("write", "pwrite", "ftruncate", "link", "unlink", "rename", "utime", "mkdir", "chmod")


class Killed(BaseException):
    """The process is no more. Not an Exception, so that nobody takes it for a failure."""


class Victim:
    """A call that dies at its `steps`-th change of the disk, before it or half-way through it.

    Args:
        steps: how many changes it lives through.
        torn: whether the last write still does half of its work.
    """

    def __init__(self, steps: int, torn: bool) -> None:
        self.steps = steps
        self.torn = torn
        self.is_dead = False

    @contextmanager
    def doomed(self) -> Iterator[None]:
        """Let what happens inside be killed."""
        with pytest.MonkeyPatch.context() as patch:
            for name in _CHANGES:
                patch.setattr(os, name, self._wrap(name, getattr(os, name)))
            patch.setattr(os, "open", self._wrap_open(os.open))
            yield

    def _live_on(self) -> bool:
        # The dead do nothing more: handlers on the way out must not tidy up.
        if self.steps == 0:
            self.is_dead = True
        self.steps -= 1
        return not self.is_dead

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            was_alive = not self.is_dead
            if self._live_on():
                return real(*args, **kwargs)
            if was_alive and self.torn and name in ("write", "pwrite"):
                real(args[0], args[1][: len(args[1]) // 2], *args[2:])
            raise Killed

        return call

    def _wrap_open(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, mode: int = 0o777, **kwargs: Any) -> int:
            if flags & os.O_CREAT and not self._live_on():
                raise Killed
            return real(path, flags, mode, **kwargs)

        return call
