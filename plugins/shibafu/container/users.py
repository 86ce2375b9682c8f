"""Users by their names inside an image."""

import os
from pathlib import Path

from shibafu.container.errors import ContainerError
from shibafu.lean.files import read_file

# Of passwd and group, in bytes.
_MAX_FILE = 1 << 20
# The highest uid and gid that runc takes.
_MAX_ID = (1 << 31) - 1


def find_user(rootfs: Path, text: str) -> tuple[int, int]:
    """Return uid and gid of `user[:group]`, names of the image or numbers.

    Args:
        rootfs: the image.
        text: what somebody asks for; empty for root.

    Raises:
        ContainerError: the image does not know one of the names, or a number is none of a user.
    """
    user, _, group = text.partition(":")
    passwd = _read_table(rootfs, "etc/passwd")
    if not user or user.isdecimal():
        uid = _require_id(user or "0")
        row = next((row for row in passwd if row[2:3] == [str(uid)]), [])
    else:
        row = _find_row(passwd, user, "user")
        uid = _require_id(row[2])
    if group.isdecimal():
        return uid, _require_id(group)
    if group:
        return uid, _require_id(_find_row(_read_table(rootfs, "etc/group"), group, "group")[2])
    return uid, _require_id(row[3]) if len(row) > 3 and row[3].isdecimal() else 0


def _require_id(text: str) -> int:
    # Not by int() alone, which refuses thousands of digits in words of its own.
    if len(text) > len(str(_MAX_ID)) or int(text) > _MAX_ID:
        raise ContainerError(f"{text[:20]} is not a user or group", f"the largest number is {_MAX_ID}")
    return int(text)


def _find_row(table: list[list[str]], name: str, kind: str) -> list[str]:
    for row in table:
        if row[0] == name and len(row) > 2 and row[2].isdecimal():
            return row
    raise ContainerError(f"the image has no {kind} {name}", f"use a number, or a {kind} from its /etc")


def _read_table(rootfs: Path, name: str) -> list[list[str]]:
    """Return the rows of passwd(5) or group(5); none where a link would lead out of the image."""
    try:
        path = (rootfs / name).resolve()
        if not path.is_relative_to(rootfs.resolve()) or not os.path.isfile(path):
            return []
        content = read_file(str(path), _MAX_FILE) or b""
    except (OSError, RuntimeError):  # the latter for links in a circle, before Python 3.13
        return []
    return [line.split(":") for line in content.decode("utf-8", "replace").splitlines()]
