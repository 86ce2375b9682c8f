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

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


class Namespace:
    """A network namespace under /run/netns, with the sysctls of namespace.conf and its loopback interface up.

    Args:
        role: What it stands for, as a part of its name: "host", "container".
    """

    def __init__(self, role: str = "test") -> None:
        self.name = f"shibafu-{role}-{secrets.token_hex(4)}"
        self.path = f"/run/netns/{self.name}"
        _run("ip", "netns", "add", self.name)
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

    def run(self, *argv: str) -> str:
        """Run a program inside and return what it prints; a failure raises with what it said."""
        return _run("ip", "netns", "exec", self.name, *argv)

    def delete(self) -> None:
        """Delete it; that it is gone already is all right."""
        if os.path.exists(self.path):
            _run("ip", "netns", "del", self.name)

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Be inside, this thread only. By another way than the library's own, which is under test."""
        libc = ctypes.CDLL(None, use_errno=True)
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        inside = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(libc.setns(inside, _CLONE_NEWNET))
            try:
                yield
            finally:
                _check(libc.setns(home, _CLONE_NEWNET))
        finally:
            os.close(inside)
            os.close(home)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} exited with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
