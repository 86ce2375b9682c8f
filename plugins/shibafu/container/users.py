"""Users by their names inside an image."""

import os
from pathlib import Path

from shibafu.container.errors import ContainerError


def find_user(rootfs: Path, text: str) -> tuple[int, int]:
    """Return uid and gid of `user[:group]`, names of the image or numbers.

    Args:
        rootfs: the image.
        text: what somebody asks for; empty for root.

    Raises:
        ContainerError: the image does not know one of the names.
    """
    user, _, group = text.partition(":")
    passwd = _read_table(rootfs, "etc/passwd")
    if not user or user.isdecimal():
        uid = int(user or 0)
        row = next((row for row in passwd if row[2:3] == [str(uid)]), [])
    else:
        row = _find_row(passwd, user, "user")
        uid = int(row[2])
    if group.isdecimal():
        return uid, int(group)
    if group:
        return uid, int(_find_row(_read_table(rootfs, "etc/group"), group, "group")[2])
    return uid, int(row[3]) if len(row) > 3 and row[3].isdecimal() else 0


def _find_row(table: list[list[str]], name: str, kind: str) -> list[str]:
    for row in table:
        if row[0] == name and len(row) > 2 and row[2].isdecimal():
            return row
    raise ContainerError(f"the image has no {kind} {name}", f"state a number, or a {kind} of its /etc")


def _read_table(rootfs: Path, name: str) -> list[list[str]]:
    """Return the rows of passwd(5) or group(5); none where a link would lead out of the image."""
    path = (rootfs / name).resolve()
    if not path.is_relative_to(rootfs.resolve()) or not os.path.isfile(path):
        return []
    return [line.split(":") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
