"""Asking for an address through one link, be it a port of a bridge or none, and telling where MACs are.

A socket that is bound to ETH_P_ARP sees nothing on a bridge's port: the bridge takes the frames before. One
that is bound to ETH_P_ALL does, and its filter keeps all but the answers out of this process.
"""

import socket
from array import array
from struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_ETH_P_ALL = 3  # linux/if_ether.h
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
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
        OSError: there is no such link, or its queue is full.
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

    Raises:
        OSError: there is no such link.
    """

    def __init__(self, link: str, mac: bytes, target: bytes) -> None:
        self._frame = calc_arp_request(mac, target)
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
        )
        try:
            _attach_filter(self._socket, target)
            self._socket.bind((link, _ETH_P_ALL))
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
        """Return the MACs of those who have answered since the last call."""
        senders: set[bytes] = set()
        while True:
            try:
                frame = self._socket.recv(64)
            except BlockingIOError:
                return senders
            except OSError:
                return set()  # the link is down or gone
            senders.add(frame[_SENDER])

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def _attach_filter(sock: socket.socket, target: bytes) -> None:
    """Let only ARP answers from an address through (struct sock_filter in linux/filter.h)."""
    load_half, load_word, if_equal, give = 0x28, 0x20, 0x15, 0x06
    program = (
        (load_half, 0, 0, 12),  # the EtherType
        (if_equal, 0, 5, 0x0806),
        (load_half, 0, 0, 20),  # request or answer
        (if_equal, 0, 3, 2),
        (load_word, 0, 0, 28),  # the sender's address
        (if_equal, 0, 1, int.from_bytes(target, "big")),
        (give, 0, 0, 64),
        (give, 0, 0, 0),
    )
    code = array("B", b"".join(pack("=HBBI", *instruction) for instruction in program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pack("HP", len(program), code.buffer_info()[0]))
