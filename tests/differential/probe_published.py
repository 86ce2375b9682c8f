"""Do the host's published ports lead to the container, from where, and whom does it take the client for?"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

from differential.snapshot import Entered

_PORTS = (8080, 8099)
_INSIDE = 80
_PATIENCE = 1  # seconds; a packet through veth pairs takes microseconds, and who is not there refuses at once
# What is received after all others.
_LAST = b"last"
# Where a client is, what it asks, and with which family.
_WAYS = (
    ("outside", "203.0.113.1", socket.AF_INET),
    ("outside", "2001:db8:113::1", socket.AF_INET6),
    ("host", "127.0.0.1", socket.AF_INET),
    ("host", "203.0.113.1", socket.AF_INET),
    ("host", "2001:db8:113::1", socket.AF_INET6),
)


def probe_published(container: str, entered: Entered) -> dict[str, str]:
    """Ask for ports of the host that a case may have published, for port 80 of a container.

    Returns:
        For each that is answered: by what address the container saw the client.
    """
    seen = {}
    with ExitStack() as stack:
        with entered(container):
            listener = socket.create_server(("::", _INSIDE), family=socket.AF_INET6, dualstack_ipv6=True)
            receiver = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        for server in (stack.enter_context(listener), stack.enter_context(receiver)):
            server.settimeout(_PATIENCE)
        receiver.bind(("::", _INSIDE))
        for where, address, family in _WAYS:
            with entered(where):
                clients = [socket.socket(family, socket.SOCK_STREAM) for _ in _PORTS]
                sender = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            for port, client in zip(_PORTS, clients, strict=True):
                with client:
                    source = _connect(client, listener, address, port)
                if source:
                    seen[_name(where, "tcp", port, address)] = _say(container, source)
                # Nothing tells of a datagram that is lost: all of them are sent before any is waited for.
                with suppress(OSError):
                    sender.sendto(_name(where, "udp", port, address).encode(), (address, port))
        with entered(container):
            sender = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        sender.sendto(_LAST, ("::1", _INSIDE))
        for name, source in _receive(receiver):
            seen[name] = _say(container, source)
    return seen


def _name(where: str, protocol: str, port: int, address: str) -> str:
    return f"{where} reaches {protocol} port {port} of {address}"


def _say(container: str, source: str) -> str:
    return f"{container} sees {source.removeprefix('::ffff:')}"


def _connect(client: socket.socket, listener: socket.socket, address: str, port: int) -> str:
    """Return the address by which a server sees a client; empty if it does not."""
    client.settimeout(_PATIENCE)
    try:
        client.connect((address, port))
        connection, source = listener.accept()
    except OSError:
        return ""
    connection.close()
    return str(source[0])


def _receive(receiver: socket.socket) -> Iterator[tuple[str, str]]:
    with suppress(TimeoutError):
        while True:
            data, source = receiver.recvfrom(256)
            if data == _LAST:
                break
            yield data.decode(), source[0]
