"""What keeps resources from being created on a machine, as STATUS reports it."""

import os

from shibafu.cni.errors import NOT_AVAILABLE, CniError
from shibafu.lean.subprocess import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def find_missing_program(program: str, env: "Mapping[str, str]", details: str) -> CniError | None:
    """Return a failure if a program is not installed; None if it is.

    Args:
        program: its name.
        env: the environment.
        details: what to do about it.
    """
    if find_program(program, env.get("PATH", "")) is not None:
        return None
    return CniError(NOT_AVAILABLE, f"{program} is not installed", details)


def find_closed_directory(path: str, details: str) -> CniError | None:
    """Return a failure if a directory cannot be created or written to; None if it can.

    Args:
        path: the directory.
        details: what it is for.
    """
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    if os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK):
        return None
    return CniError(NOT_AVAILABLE, f"cannot write to {path}", details)
