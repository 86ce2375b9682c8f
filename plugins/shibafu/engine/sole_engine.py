"""What one engine of a place has: its lock and its sockets."""

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK
from _socket import socket as _socket
from fcntl import LOCK_EX, LOCK_NB, flock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.engine.location import EngineLocation


class AlreadyRunningError(Exception):
    """Another process is the engine of this installation."""


def lock_place(place: "EngineLocation") -> int:
    """Return the descriptor by which this process alone is the engine of a place.

    Raises:
        AlreadyRunningError: another process is it.
        OSError: the file cannot be made.
    """
    while True:
        descriptor = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
            # The one before removes the file when it ends, perhaps just now.
            if os.path.samestat(os.fstat(descriptor), os.stat(place.lock)):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRunningError(place.home) from None
        except FileNotFoundError:
            pass
        os.close(descriptor)


def bind_socket(path: str, kind: int) -> _socket:
    """Return a socket at a path, which only root may connect to.

    Args:
        path: the path; what is there is removed.
        kind: SOCK_STREAM or SOCK_SEQPACKET.

    Raises:
        OSError: it cannot be made.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    made = _socket(AF_UNIX, kind | SOCK_CLOEXEC | SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        made.bind(path)
    finally:
        os.umask(before)
    return made
