"""The only watcher of a namespace, and what others read of it: `/run/shibafu/watch/<inode>.json`."""

import os

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.cni.sole_process import ALREADY_AT_WORK, SoleProcess, is_at_work
from shibafu.lean.files import read_file, remove_file, replace_file
from shibafu.lean.json import dumps, loads
from shibafu.networks.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_ROOT = "/run/shibafu"
_DIRECTORY = f"{_ROOT}/watch"
_LARGEST = 1 << 20
_KIND = "watch"
# What is said where no watcher is at work.
_LISTS = ("heals", "last", "contested", "lost", "gateways", "uplinks", "routers", "routerMistakes")
_ABSENT: dict[str, object] = {"running": False, "pid": 0, "started": 0.0} | {name: [] for name in _LISTS}


def claim_watch() -> SoleProcess:
    """Return what makes this process the watcher of its namespace, to be held by `with`.

    Entering it raises CommandError if there is another one.
    """
    return SoleProcess(_KIND, "the watcher", _refuse)


def _refuse() -> CommandError:
    return CommandError(
        "another watcher is already running",
        "`shibafu watch status` shows what it does",
        ALREADY_AT_WORK,
    )


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
    if not is_at_work(_KIND):
        return dict(_ABSENT)
    try:
        status = loads(read_file(_calc_path(), _LARGEST) or b"{}")
    except (OSError, ValueError):
        status = {}
    # It may just have begun.
    return {**_ABSENT, "running": True, **(status if isinstance(status, dict) else {})}


def _calc_path() -> str:
    return f"{_DIRECTORY}/{os.stat('/proc/self/ns/net').st_ino}.json"
