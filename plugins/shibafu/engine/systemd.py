"""What the engine says to the service manager that has started it, if one has."""

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM
from _socket import socket as _socket


def is_service() -> bool:
    """Return whether this is a service of systemd; see systemd.exec(5).

    Others speak sd_notify(3), too, and what is started from a service may have its INVOCATION_ID.
    """
    return bool(os.environ.get("NOTIFY_SOCKET") and os.environ.get("INVOCATION_ID"))


def notify(state: str) -> None:
    """Notify the service manager, if one has started this process; see sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    sender = _socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC)
    try:
        sender.sendto(state.encode(), b"\0" + os.fsencode(address[1:]) if address[0] == "@" else address)
    except OSError:
        pass
    finally:
        sender.close()
