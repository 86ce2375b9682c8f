"""What a container does as root to get in where it should not, and what to compare that with."""

import socket

from support.machine import Machine
from support.namespaces import Namespace


def claim(container: Namespace, address: str, ifname: str = "eth0") -> None:
    """Give a container's interface an address of its own choice, as root in a container can.

    It is only used where it is asked for.
    """
    container.run("sysctl", "-qw", f"net.ipv6.conf.{ifname}.disable_ipv6=0")
    bits, options = ("128", ["nodad", "preferred_lft", "0"]) if ":" in address else ("32", [])
    container.run("ip", "addr", "add", f"{address}/{bits}", "dev", ifname, *options)


def exchange(client: socket.socket, server: socket.socket, address: tuple[str, int]) -> None:
    """Send a datagram and have it answered, so that the host knows a connection of both."""
    client.sendto(b"ping", address)
    _, source = server.recvfrom(16)
    server.sendto(b"pong", source)
    assert client.recvfrom(16) == (b"pong", address)


def receive(client: socket.socket) -> bytes:
    """Return what arrives; nothing if it does not."""
    try:
        return client.recv(16)
    except TimeoutError:
        return b""


def remove_rules(machine: Machine) -> None:
    """Remove what the plugins have made of filters, so that what they dropped is let through."""
    if machine.backend == "iptables":
        machine.iptables("-F")
        machine.iptables("-t mangle -F")
    for table in machine.tables():
        machine.host.run("nft", "delete", *table.split())
