"""Directories that belong to the suite: created with explicit modes, and not writable for others.

What is locked, remembered or believed is as safe as the directories above it: who can write to one of
them can put another file, or another directory, in place of what is in it.
"""

import os
from _stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISVTX, S_IWGRP, S_IWOTH
from errno import EROFS

from shibafu.cni.errors import IO_FAILURE, CniError

_OTHERS = S_IWGRP | S_IWOTH
# For processes that call other programs, whose files nobody else is to write, and containers are to read.
UMASK = 0o022


def make_directory(path: str, mode: int, parents: int = 0o755) -> None:
    """Make a directory unless there is one; its mode, whatever the umask is, is `mode`.

    Args:
        path: the directory.
        mode: its mode.
        parents: the mode of what is missing above it.

    Raises:
        OSError: it cannot be made, or there is something else.
    """
    try:
        try:
            os.mkdir(path, mode)
        except FileNotFoundError:
            make_directory(os.path.dirname(path), parents, parents)
            # Where nothing can be made, such as in /proc, this says the same again.
            os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        return
    _set_mode(path, mode)


def secure_directories(*paths: str) -> None:
    """Make sure that no other user can write to directories of the suite; missing ones are fine.

    Earlier versions left some to the umask of their caller: modes that are too wide are corrected. What
    belongs to somebody else is refused, since nobody knows what else in it does.

    Args:
        paths: directories, each after the one that it is in.

    Raises:
        CniError: one belongs to somebody else.
    """
    own = os.geteuid()
    for path in paths:
        try:
            found = os.lstat(path)
            if S_ISLNK(found.st_mode) and found.st_uid in (own, 0):
                found = os.stat(path)  # the administrator has moved it
        except OSError:
            return  # it is missing, or cannot be made: what needs it says so
        if found.st_uid not in (own, 0):
            raise CniError(
                IO_FAILURE,
                f"{path} belongs to user {found.st_uid}, who could forge the locks and records in it",
                "find out what it is, and remove it",
            )
        if not S_ISDIR(found.st_mode):
            return
        if found.st_mode & _OTHERS and found.st_uid == own:
            _set_mode(os.path.realpath(path), S_IMODE(found.st_mode) & ~_OTHERS)


def secure_given_directory(path: str) -> None:
    """Make sure that not everybody can replace what is in a directory that an administrator has chosen.

    Its owner, and a group that may write to it, are the administrator's choice; so is a directory in which
    nobody can touch what is another's, such as /tmp. One that everybody can write to is an earlier version's
    mistake if it belongs to this user, and is corrected.

    Raises:
        CniError: everybody can write to it, or could have made it.
    """
    try:
        found = os.stat(path)
    except OSError:
        return
    own = os.geteuid()
    if found.st_mode & S_IWOTH and not found.st_mode & S_ISVTX:
        if found.st_uid != own:
            raise CniError(
                IO_FAILURE,
                f"everybody can write to {path} and replace the files in it",
                f"change that: chmod go-w {path}",
            )
        _set_mode(os.path.realpath(path), S_IMODE(found.st_mode) & ~_OTHERS)
    elif found.st_uid not in (own, 0) and os.stat(os.path.dirname(path)).st_mode & S_IWOTH:
        raise CniError(
            IO_FAILURE,
            f"{path} belongs to user {found.st_uid}, and anybody could have created it",
            f"choose another directory, or remove it and create it as user {own}",
        )


def _set_mode(path: str, mode: int) -> None:
    # By a descriptor: unlike chmod(2), it never follows a link that was put in its place.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, mode)
    except OSError as error:
        error.filename = path
        if error.errno != EROFS:  # where nobody can write
            raise
    finally:
        os.close(descriptor)
