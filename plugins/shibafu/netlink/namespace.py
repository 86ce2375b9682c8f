"""Network namespaces as file descriptors."""

import os
from errno import EINVAL, ENOPROTOOPT
from fcntl import ioctl
from sys import byteorder

from shibafu.netlink.constants import CLONE_NEWNET, NS_GET_NSTYPE, SO_NETNS_COOKIE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

_CURRENT = "/proc/self/ns/net"


def open_netns(path: str) -> int:
    """Open a network namespace and return its file descriptor.

    Raises:
        OSError: there is nothing at path, or it is not a network namespace (EINVAL).
    """
    # Whatever lies at path, opening it must not wait (a FIFO would).
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        kind = ioctl(fd, NS_GET_NSTYPE)
    except OSError:
        # ENOTTY: no namespace at all.
        kind = 0
    if kind != CLONE_NEWNET:
        os.close(fd)
        raise OSError(EINVAL, "not a network namespace", path)
    return fd


def current_netns() -> int:
    """Open the namespace that the process is in and return its file descriptor."""
    return os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)


def is_current_netns(fd: int) -> bool:
    """Return whether a file descriptor is of the namespace that the process is in."""
    return os.path.samestat(os.fstat(fd), os.stat(_CURRENT))


def read_own_cookie() -> int | None:
    """Return the cookie of the namespace that the process is in; None before Linux 5.14."""
    # Not at the top: the monitor needs no sockets.
    from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM
    from _socket import socket as _socket

    any_socket = _socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC)
    try:
        return read_cookie(any_socket)
    finally:
        any_socket.close()


def read_cookie(any_socket: "socket") -> int | None:
    """Return the cookie of the namespace that a socket was made in; None before Linux 5.14."""
    from _socket import SOL_SOCKET

    try:
        return int.from_bytes(any_socket.getsockopt(SOL_SOCKET, SO_NETNS_COOKIE, 8), byteorder)
    except OSError as error:
        if error.errno != ENOPROTOOPT:
            raise
        return None


def setns(fd: int) -> None:
    """Enter a network namespace, this thread only.

    Raises:
        OSError: the kernel's refusal.
    """
    _load_setns()(fd)


class NetnsContext:
    """A context in which the process is in another network namespace; it can be entered again and again.

    Leaving it always leads back. Where that fails, the error must end the process, which would otherwise go
    on in the wrong place.

    Args:
        fd: The namespace to enter.
    """

    __slots__ = ("_fd", "_home", "_setns")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._home = -1
        self._setns = _load_setns()

    def __enter__(self) -> None:
        self._home = current_netns()
        try:
            self._setns(self._fd)
        except OSError:
            os.close(self._home)
            raise

    def __exit__(self, *exception: object) -> None:
        try:
            self._setns(self._home)
        finally:
            os.close(self._home)


def entered(fd: int) -> NetnsContext:
    """Return a context in which the process is in that network namespace."""
    return NetnsContext(fd)


def _load_setns() -> "Callable[[int], None]":
    """Return os.setns (Python 3.12), or the like of it by way of the C library."""
    try:
        native: Callable[[int, int], None] = os.setns  # type: ignore[attr-defined]  # new in 3.12
    except AttributeError:
        # Not at the top: DEL does without.
        from shibafu.netlink.libc import load_libc_function

        native = load_libc_function("setns")
    return lambda fd: native(fd, CLONE_NEWNET)
