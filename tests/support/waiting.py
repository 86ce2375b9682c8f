"""Waiting for something that happens beside the test."""

import time
from collections.abc import Callable

_PATIENCE = 60.0  # seconds: others may keep all processors busy
_PAUSE = 0.002


def wait_for(condition: Callable[[], bool]) -> None:
    """Look until a condition holds; a test fails that waits too long."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(_PAUSE)
