"""Asking for an IPv6 address through one link, by Neighbor Solicitations (RFC 4861).

They come from the link's own address, so that what a router learns of them is true. The kernel chooses it, as
well as computes the checksum; what is answered, it takes for its own table of neighbours, too.
"""

import socket

from shibafu.watch.packet_filter import ANSWERS_AT_ONCE, FROM_IP, LOAD_BYTE, LOAD_WORD, attach_filter

# RFC 4861, sections 4.3 and 4.4: the types of messages, and the option with the sender's MAC (4.6.1).
_SOLICITATION, _ADVERTISEMENT = 135, 136
_SOURCE_OPTION = bytes((1, 1))
# Section 7.1: what has crossed a router has fewer, and is not to be believed.
_HOPS = 255
# ff02::1:ff00:0/104, and the last three bytes of the address (RFC 4291, section 2.7.1).
_SOLICITED_NODE = bytes.fromhex("ff0200000000000000000001ff")


def calc_solicitation(mac: bytes, target: bytes) -> bytes:
    """Return the message that asks for an address; its checksum is the kernel's to compute.

    Args:
        mac: who asks.
        target: the address, packed.
    """
    return bytes((_SOLICITATION,)) + bytes(7) + target + _SOURCE_OPTION + mac


class SolicitationProbe:
    """Asks for an address through a link.

    Args:
        link: its name.
        index: its number.
        mac: its MAC.
        target: the IPv6 address, packed.

    Raises:
        OSError: the link does not exist, or has no IPv6.
    """

    def __init__(self, link: str, index: int, mac: bytes, target: bytes) -> None:
        self._message = calc_solicitation(mac, target)
        group = socket.inet_ntop(socket.AF_INET6, _SOLICITED_NODE + target[-3:])
        self._everybody = (group, 0, 0, index)
        self._socket = socket.socket(
            socket.AF_INET6,
            socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
            socket.IPPROTO_ICMPV6,
        )
        try:
            # A raw socket's packets begin with ICMP's header (raw(7)).
            words = [int.from_bytes(target[start : start + 4], "big") for start in range(0, 16, 4)]
            attach_filter(
                self._socket,
                [
                    (LOAD_BYTE, FROM_IP + 7, _HOPS),
                    (LOAD_BYTE, 0, _ADVERTISEMENT),
                    *((LOAD_WORD, 8 + 4 * number, word) for number, word in enumerate(words)),
                ],
            )
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOPS)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
        except OSError:
            self._socket.close()
            raise
        self.take_answer()  # of other links, from before it was bound

    def ask(self) -> None:
        """Send a message; that it cannot be sent is as if nobody had answered."""
        try:
            self._socket.sendto(self._message, self._everybody)
        except OSError:
            pass

    def take_answer(self) -> bool:
        """Return whether somebody has answered since the last call."""
        is_answered = False
        for _ in range(ANSWERS_AT_ONCE):
            try:
                self._socket.recv(64)
            except BlockingIOError:
                break
            except OSError:
                return False  # the link is down or gone
            is_answered = True
        return is_answered

    def close(self) -> None:
        """Close it."""
        self._socket.close()
