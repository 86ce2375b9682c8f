"""Packets that arrive or do not: between containers, to the host, and to a world beyond it."""

import select
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from support.namespaces import Namespace

UPLINK = {4: "203.0.113.1", 6: "2001:db8:ff::1"}
OUTSIDE = {4: "203.0.113.2", 6: "2001:db8:ff::2"}


class Outside:
    """The world beyond the host: one neighbour, in a namespace of its own, with servers.

    Args:
        host: it gets an uplink to it.
    """

    def __init__(self, host: Namespace) -> None:
        self.namespace = Namespace("outside")
        host.run(
            "ip", "link", "add", "uplink", "type", "veth", "peer", "uplink", "netns", self.namespace.name
        )
        for namespace, addresses in ((host, UPLINK), (self.namespace, OUTSIDE)):
            namespace.run("ip", "addr", "add", f"{addresses[4]}/24", "dev", "uplink")
            namespace.run("ip", "addr", "add", f"{addresses[6]}/64", "dev", "uplink", "nodad")
            namespace.run("ip", "link", "set", "uplink", "up")
        for namespace in (host, self.namespace):
            # Until a worker of the kernel has noticed the carrier, nothing is sent, and nobody told.
            while "state UP" not in namespace.run("ip", "link", "show", "uplink"):
                time.sleep(0.005)

    def close(self) -> None:
        """Delete it; its end of the uplink takes the host's with it."""
        self.namespace.delete()


_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def open_socket(
    namespace: Namespace, version: int, kind: socket.SocketKind, patience: float = 5
) -> socket.socket:
    """Return a socket in a namespace: it stays there, wherever this process goes."""
    with namespace.enter():
        opened = socket.socket(_FAMILY[version], kind)
    opened.settimeout(patience)
    return opened


def ask_source(
    server: Namespace, address: str, client: Namespace, kind: socket.SocketKind, patience: float = 5
) -> str:
    """Send from `client` to `address` in `server` and back; return the source that the server saw.

    Args:
        patience: seconds to wait for each packet; fewer where none is expected.

    Raises:
        OSError: something did not arrive.
    """
    version = 6 if ":" in address else 4
    with (
        open_socket(server, version, kind, patience) as listener,
        open_socket(client, version, kind, patience) as talker,
    ):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, 0))
        port = listener.getsockname()[1]
        if kind == socket.SOCK_STREAM:
            listener.listen()
            talker.connect((address, port))
            accepted, source = listener.accept()
            with accepted:
                accepted.sendall(b"pong")
                assert talker.recv(4) == b"pong"
        else:
            talker.sendto(b"ping", (address, port))
            data, source = listener.recvfrom(16)
            assert data == b"ping"
            listener.sendto(b"pong", source)
            assert talker.recv(16) == b"pong"
    return str(source[0])


def arrives(server: Namespace, address: str, client: Namespace, source: str = "") -> str:
    """Return the source of a datagram as the server sees it; empty if none arrives.

    One of three has to; on one machine, each takes microseconds.
    """
    version = 6 if ":" in address else 4
    _ask_neighbours_often(client)
    with (
        open_socket(server, version, socket.SOCK_DGRAM, patience=0.25) as listener,
        open_socket(client, version, socket.SOCK_DGRAM) as talker,
    ):
        listener.bind((address, 0))
        talker.bind((source, 0))
        for _ in range(3):
            try:
                talker.sendto(b"ping", listener.getsockname()[:2])
                return str(listener.recvfrom(16)[1][0])
            except OSError:
                continue
        return ""


def list_arriving(*attempts: tuple[Namespace, str, Namespace]) -> list[bool]:
    """Return for each server, its address and client whether a datagram arrives; all are sent at once.

    An address that the server does not have is one at which nothing arrives.
    """
    with ExitStack() as stack:
        pairs = []
        for server, address, client in attempts:
            version = 6 if ":" in address else 4
            _ask_neighbours_often(client)
            listener, talker = (
                stack.enter_context(open_socket(end, version, socket.SOCK_DGRAM)) for end in (server, client)
            )
            with suppress(OSError):
                listener.bind((address, 0))
            pairs.append((listener, talker))
        for _ in range(4):
            for listener, talker in pairs:
                if listener.getsockname()[1]:
                    with suppress(OSError):
                        talker.sendto(b"ping", listener.getsockname()[:2])
            time.sleep(0.06)
        return [bool(select.select([listener], [], [], 0)[0]) for listener, _ in pairs]


def _ask_neighbours_often(namespace: Namespace) -> None:
    """Ask for hardware addresses every 50 ms instead of every second.

    A new link may not hear the first question, and all that is sent until the next waits for its answer.
    """
    with namespace.enter():
        for file in Path("/proc/sys/net").glob("ipv[46]/neigh/*/retrans_time_ms"):
            file.write_text("50")


def can_reach(server: Namespace, address: str, client: Namespace) -> bool:
    """Say whether a datagram arrives."""
    return bool(arrives(server, address, client))
