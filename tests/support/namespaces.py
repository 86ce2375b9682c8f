"""Network namespaces for tests: made, used and deleted by the test that needs them."""

import ctypes
import os
import secrets
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl

from support.sysctls import write_sysctls

_DIRECTORY = "/run/netns"
_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MNT_DETACH = 2
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace under /run/netns, with the sysctls of namespace.conf and its loopback interface up.

    Args:
        role: What it stands for, as a part of its name: "host", "container".
    """

    def __init__(self, role: str = "test") -> None:
        self.name = f"shibafu-{role}-{secrets.token_hex(4)}"
        self.path = f"{_DIRECTORY}/{self.name}"
        self._make()
        with self.enter():
            write_sysctls()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))

    @classmethod
    def of_name(cls, name: str) -> "Namespace":
        """Return one that somebody else has made, and deletes."""
        namespace = cls.__new__(cls)
        namespace.name, namespace.path = name, f"/run/netns/{name}"
        return namespace

    def __enter__(self) -> "Namespace":
        return self

    def __exit__(self, *exception: object) -> None:
        self.delete()

    def _make(self) -> None:
        """Do what `ip netns add` does, without a process."""
        if not os.path.ismount(_DIRECTORY):
            # The first one on a machine: a directory that other mount namespaces see deletions in.
            _run("ip", "netns", "add", self.name)
            return
        with _returning():
            _check(_LIBC.unshare(_CLONE_NEWNET))
            os.close(os.open(self.path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
            own = b"/proc/thread-self/ns/net"
            _check(_LIBC.mount(own, self.path.encode(), b"none", _MS_BIND, None))

    def run(self, *argv: str) -> str:
        """Run a program inside and return what it prints; a failure raises with what it said.

        In /sys it sees this process's network namespace; `read_link` looks there.
        """
        with self.enter():
            return _run(*argv)

    def read_link(self, name: str, file: str) -> str:
        """Return what a file says in the directory of a link below /sys/class/net."""
        return _run("ip", "netns", "exec", self.name, "cat", f"/sys/class/net/{name}/{file}").strip()

    def delete(self) -> None:
        """Delete it; that it is gone already is all right."""
        if os.path.exists(self.path):
            # Without an error when it is not mounted any more, as `ip netns del`.
            _LIBC.umount2(self.path.encode(), _MNT_DETACH)
            os.unlink(self.path)

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Be inside, this thread only. By another way than the library's own, which is under test."""
        inside = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with _returning():
                _check(_LIBC.setns(inside, _CLONE_NEWNET))
                yield
        finally:
            os.close(inside)


@contextmanager
def _returning() -> Iterator[None]:
    """Have this thread in the network namespace afterwards that it is in now."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            _check(_LIBC.setns(home, _CLONE_NEWNET))
        finally:
            os.close(home)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} exited with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
