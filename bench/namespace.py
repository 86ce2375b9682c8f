"""Network namespaces for measurements: made and deleted outside of what is timed."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from itertools import count
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_MS_BIND = 4096
_MNT_DETACH = 2
# run.sh has mounted a file system of the measurements' own on /run, which goes when they end.
_DIRECTORY = "/run/netns"

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = count(1)


class Namespace:
    """A network namespace, and the path that a plugin gets as CNI_NETNS.

    Args:
        role: what it stands for, as a part of its name: "host", "container".
    """

    def __init__(self, role: str) -> None:
        self.name = f"{role}-{os.getpid()}-{next(_numbers)}"
        self.path = f"{_DIRECTORY}/{self.name}"
        os.makedirs(_DIRECTORY, exist_ok=True)
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.unshare(_CLONE_NEWNET))
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            _check(_libc.mount(b"/proc/self/ns/net", self.path.encode(), None, _MS_BIND, None))
            # The same for all: what stays on a bridge is not FORWARD's, also where br_netfilter is loaded.
            for switch in glob("/proc/sys/net/bridge/bridge-nf-call-ip*"):
                Path(switch).write_text("0")
        finally:
            _check(_libc.setns(home, _CLONE_NEWNET))
            os.close(home)

    def __enter__(self) -> "Namespace":
        return self

    def __exit__(self, *exception: object) -> None:
        self.delete()

    def delete(self) -> None:
        """Let the kernel delete it, which it does in the background."""
        _check(_libc.umount2(self.path.encode(), _MNT_DETACH))
        os.unlink(self.path)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be inside: programs that are started meanwhile are, too."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        target = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(target, _CLONE_NEWNET))
            try:
                yield
            finally:
                _check(_libc.setns(home, _CLONE_NEWNET))
        finally:
            os.close(target)
            os.close(home)


@contextmanager
def namespaces(role: str, number: int) -> Iterator[list[Namespace]]:
    """Make several namespaces, and delete them in the end."""
    made: list[Namespace] = []
    try:
        made.extend(Namespace(role) for _ in range(number))
        yield made
    finally:
        for namespace in made:
            namespace.delete()


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
