"""The data directory, which is root's alone.

An image has programs that are setuid, device nodes, and directories that everybody may write to. Inside a
container they are the container's; a user of the host who gets at them by their path is root of the host,
or changes what containers run. So nobody but root gets past these directories, and modes below do not matter.
Containers' own users do not come this way: their root file system is mounted by root, before.
"""

import os
from pathlib import Path

from shibafu.cni.directories import make_directory, secure_directories, secure_given_directory

_PRIVATE = 0o700
# What this suite keeps in a data directory.
_KINDS = ("images", "containers", "addresses")


def ensure_private(directory: Path) -> None:
    """Create a directory that only root can enter, and missing ones above it."""
    make_directory(str(directory), _PRIVATE, _PRIVATE)


def close_data(data_dir: Path) -> None:
    """Close a data directory of a version that left it open, whatever the umask was when it was made.

    The directory itself only if there is nothing else in it: it may be one that people share.

    Raises:
        CniError: somebody else could have put there what is in it.
    """
    try:
        names = set(os.listdir(data_dir))
    except FileNotFoundError:
        return
    secure_given_directory(str(data_dir))
    for name in names.intersection(_KINDS):
        secure_directories(f"{data_dir}/{name}")
        _close(data_dir / name)
    if names and names.issubset(_KINDS):
        _close(data_dir)


def _close(directory: Path) -> None:
    if directory.stat().st_mode & 0o777 != _PRIVATE:
        directory.chmod(_PRIVATE)
