"""Network namespaces for tests: made, used and deleted by the test that needs them."""

import ctypes
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000


# What br_netfilter, once loaded, has switched on in each new namespace: FORWARD sees what bridges forward.
_UNBRIDGED = "for name in /proc/sys/net/bridge/bridge-nf-call-ip*; do [ ! -e $name ] || echo 0 >$name; done"


class Namespace:
    """A network namespace under /run/netns, with its loopback interface up, and without br_netfilter's work.

    Args:
        role: What it stands for, as a part of its name: "host", "container".
    """

    def __init__(self, role: str = "test") -> None:
        self.name = f"shibafu-{role}-{secrets.token_hex(4)}"
        self.path = f"/run/netns/{self.name}"
        _run("ip", "netns", "add", self.name)
        self.run("sh", "-ec", f"ip link set lo up; {_UNBRIDGED}")

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
