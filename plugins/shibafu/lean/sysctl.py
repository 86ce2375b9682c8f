"""Sysctls: files of a few characters, read and written without what a text file takes to import."""

import os


def write_sysctl(path: str, value: str, directory: int | None = None) -> None:
    """Write a switch; one that cannot be written is right when it already has the value.

    Args:
        path: its file.
        value: what to write.
        directory: a descriptor of the directory that `path` is relative to.

    Raises:
        OSError: it cannot be written and has another value, or is not there.
    """
    try:
        # open() would make a text file of it, with a buffer and a codec to import.
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except OSError:
        # /proc/sys is read-only inside many containers that run nested ones.
        if read_sysctl(path, directory) != value:
            raise


def try_sysctl(path: str, value: str, directory: int | None = None) -> None:
    """Write a switch that an attachment works without; some kernels lack it, some containers may not."""
    try:
        write_sysctl(path, value, directory)
    except OSError:
        pass  # that is what "try" means


def read_sysctl(path: str, directory: int | None = None) -> str:
    """Return a switch's value.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(descriptor, 64).decode().strip()
    finally:
        os.close(descriptor)
