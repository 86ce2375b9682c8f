"""Packets that would get round policies: frames that a container writes itself, and what is sent to many."""

import socket
from contextlib import suppress

from netns.policy_machine import labelled
from support.frames import calc_datagram, calc_frame
from support.machine import Config, Machine
from support.namespaces import Namespace
from support.traffic import open_socket


class Wire:
    """Containers of one network, and what one of them writes to the link of another."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.config: Config = machine.config("10.10.0.0/24", "fd00:10::/64")
        self.addresses: dict[str, dict[int, str]] = {}

    def attach(self, *names: str) -> None:
        for name in names:
            result = self.machine.add(labelled(self.config, app=name), name)
            addresses = [ip["address"].partition("/")[0] for ip in result["ips"]]
            self.addresses[name] = {6 if ":" in one else 4: one for one in addresses}

    def find_local(self, name: str) -> str:
        """Return a container's link-local address."""
        container = self.machine.container(name)
        listed = container.run("ip", "-o", "-6", "addr", "show", "dev", "eth0", "scope", "link")
        return listed.split()[3].partition("/")[0]

    def passes(
        self, ends: tuple[str, str], version: int, tags: tuple[int, ...], source: str = "", to: str = ""
    ) -> bool:
        """Return whether a datagram from one container arrives at another.

        Args:
            ends: the containers.
            version: of IP.
            tags: the frame's.
            source: the address to send from; empty for the sender's own.
            to: the hardware address to send to; empty for the receiver's own.
        """
        sender, receiver = map(self.machine.container, ends)
        own, destination = (self.addresses[name][version] for name in ends)
        with (
            open_socket(receiver, version, socket.SOCK_DGRAM, patience=0.25) as listener,
            sender.enter(),
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire,
        ):
            listener.bind(("", 0))
            wire.bind(("eth0", 0))
            packet = calc_datagram(source or own, destination, listener.getsockname()[1])
            mac = bytes.fromhex((to or find_mac(self.machine, receiver, "eth0")).replace(":", ""))
            for _ in range(2):
                wire.send(calc_frame(mac, wire.getsockname()[4], packet, tags))
                with suppress(TimeoutError):
                    return bool(listener.recv(16))
        return False


def find_mac(machine: Machine, namespace: Namespace, link: str) -> str:
    return str(machine.links(namespace)[link]["address"])


def reaches_link_local(client: Namespace, server: Namespace, link: str = "eth0") -> bool:
    """Return whether a datagram arrives at a container's link-local address, sent out of a link."""
    listed = server.run("ip", "-o", "-6", "addr", "show", "dev", "eth0", "scope", "link")
    address = listed.split()[3].partition("/")[0]
    with (
        open_socket(server, 6, socket.SOCK_DGRAM, patience=0.5) as listener,
        open_socket(client, 6, socket.SOCK_DGRAM) as talker,
    ):
        listener.bind(("::", 0))
        with client.enter():
            scope = socket.if_nametoindex(link)
        for _ in range(3):
            talker.sendto(b"ping", (address, listener.getsockname()[1], 0, scope))
            with suppress(TimeoutError):
                return bool(listener.recv(16))
        return False


def hears(client: Namespace, server: Namespace, address: str) -> bool:
    """Return whether a datagram arrives that is sent to many."""
    version = 6 if ":" in address else 4
    with (
        open_socket(server, version, socket.SOCK_DGRAM, patience=0.5) as listener,
        open_socket(client, version, socket.SOCK_DGRAM) as talker,
    ):
        listener.bind(("", 0))
        talker.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        talker.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        for _ in range(3):
            talker.sendto(b"ping", (address, listener.getsockname()[1]))
            with suppress(TimeoutError):
                return bool(listener.recv(16))
        return False
