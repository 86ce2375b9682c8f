"""Asking for an address through one link, be it a port of a bridge or none, and telling where MACs are.

A socket that is bound to ETH_P_ARP sees nothing on a bridge's port: the bridge takes the frames before. One
that is bound to ETH_P_ALL does, and its filter keeps all but the answers out of this process.
"""

import socket

from shibafu.watch.packet_filter import ANSWERS_AT_ONCE, LOAD_HALF, LOAD_WORD, attach_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_ETH_P_ALL, _ETH_P_ARP = 0x0003, 0x0806  # linux/if_ether.h
_EVERYBODY = b"\xff" * 6
_UNSPECIFIED = bytes(4)
# EtherType, Ethernet, IPv4, the lengths of both addresses, a request (RFC 826).
_SENDER = slice(22, 28)
_REQUEST = bytes.fromhex("0806 0001 0800 06 04 0001")


def calc_arp_request(mac: bytes, target: bytes = _UNSPECIFIED) -> bytes:
    """Return the frame that asks everybody for an address.

    Its sender has no address, so that it changes nobody's cache (an ARP probe, RFC 5227, section 1.1).

    Args:
        mac: who asks.
        target: the address, packed; 0.0.0.0 is nobody's: then switches only learn where the MAC is.
    """
    return _EVERYBODY + mac + _REQUEST + mac + _UNSPECIFIED + bytes(6) + target


def announce(link: str, macs: "Iterable[bytes]") -> None:
    """Send a frame from each of some MACs out of a link, from which switches learn where they are.

    Raises:
        OSError: the link does not exist, or its queue is full.
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as sock:
        sock.bind((link, 0))
        for mac in macs:
            sock.send(calc_arp_request(mac))


class ArpProbe:
    """Asks for an address through a link.

    Args:
        link: its name.
        mac: its MAC.
        target: the IPv4 address, packed.
        is_port: whether it may be a bridge's; otherwise, its other packets cost nothing.

    Raises:
        OSError: there is no such link.
    """

    def __init__(self, link: str, mac: bytes, target: bytes, is_port: bool = True) -> None:
        self._frame = calc_arp_request(mac, target)
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
        )
        try:
            # The EtherType, an answer, and the sender's address.
            sender = int.from_bytes(target, "big")
            attach_filter(
                self._socket, [(LOAD_HALF, 12, _ETH_P_ARP), (LOAD_HALF, 20, 2), (LOAD_WORD, 28, sender)]
            )
            self._socket.bind((link, _ETH_P_ALL if is_port else _ETH_P_ARP))
        except OSError:
            self._socket.close()
            raise

    def ask(self) -> None:
        """Send a request; that it cannot be sent is as if nobody had answered."""
        try:
            self._socket.send(self._frame)
        except OSError:
            pass

    def take_answer(self) -> bool:
        """Return whether somebody has answered since the last call."""
        return bool(self.take_senders())

    def take_senders(self) -> set[bytes]:
        """Return the MACs of those who have answered since the last call, as far as they were read."""
        senders: set[bytes] = set()
        for _ in range(ANSWERS_AT_ONCE):
            try:
                frame = self._socket.recv(64)
            except BlockingIOError:
                break
            except OSError:
                return set()  # the link is down or gone
            senders.add(frame[_SENDER])
        return senders

    def close(self) -> None:
        """Close it."""
        self._socket.close()
