"""A server of the demo: tells each client which address it sees.

    server.py PORT...

Listens on TCP and UDP, for both families.
"""

import selectors
import socket
import sys


def answer_connection(server: socket.socket) -> None:
    """Answer a client that connects."""
    connection, peer = server.accept()
    with connection:
        connection.sendall(describe(peer[0]))


def answer_datagram(server: socket.socket) -> None:
    """Answer a client that sends a datagram."""
    _, peer = server.recvfrom(64)
    server.sendto(describe(peer[0]), peer)


def describe(address: str) -> bytes:
    """Return a client's address as a line, without the prefix that sockets for both families add to IPv4."""
    return address.removeprefix("::ffff:").encode() + b"\n"


def main() -> None:
    """Answer until killed."""
    selector = selectors.DefaultSelector()
    for port in map(int, sys.argv[1:]):
        stream = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        selector.register(stream, selectors.EVENT_READ, answer_connection)
        datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        datagrams.bind(("", port))
        selector.register(datagrams, selectors.EVENT_READ, answer_datagram)
    while True:
        for key, _ in selector.select():
            key.data(key.fileobj)


if __name__ == "__main__":
    main()
