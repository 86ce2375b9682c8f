"""Which addresses answer to an ICMP echo request of a certain size, asked all at once.

However many there are and however few of them answer, it takes little more time than one that does not: a
thousand take 0.3 s longer. Requests are sent in crowds, after each of which the answers that are there are
read, so that neither those of a live crowd nor the requests to a dead one fill a buffer. Of absent hosts on
one link the kernel looks for 1,024 at most (gc_thresh3 of arp(7)): those that come after them get no request.
"""

import os
import socket
import time
from collections.abc import Iterable, Set
from select import select
from struct import Struct

# type, code, checksum, identifier, sequence number (RFC 792)
_ECHO = Struct("!BBHHH")
_REQUEST, _REPLY = 8, 0
_IP_HEADER = 20
# linux/in.h: never fragment, not even on the way.
_IP_MTU_DISCOVER, _IP_PMTUDISC_DO = 10, 2
# Hosts asked at once, as many answers as fit into a socket's buffer, and seconds until the next ones are.
_CROWD, _PAUSE = 64, 0.02


def probe_addresses(addresses: Iterable[str], size: int = 64, patience: float = 1.0) -> set[str]:
    """Return those of some IPv4 addresses that answer.

    Args:
        addresses: whom to ask.
        size: of each packet with its headers, in bytes; it is not fragmented.
        patience: seconds to wait for the last answers.

    Raises:
        PermissionError: the process lacks CAP_NET_RAW.
    """
    wanted = list(dict.fromkeys(addresses))
    if not wanted:
        return set()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
        probe = _Probe(sock, set(wanted), size)
        for begin in range(0, len(wanted), _CROWD):
            crowd = wanted[begin : begin + _CROWD]
            probe.ask(crowd)
            probe.collect(set(crowd), _PAUSE)
        probe.collect(probe.wanted, patience)
    return probe.answered


class _Probe:
    """Requests of one size.

    Args:
        sock: a raw socket.
        wanted: whose answers count.
        size: see `probe_addresses`.

    Attributes:
        answered: who has answered.
    """

    def __init__(self, sock: socket.socket, wanted: set[str], size: int) -> None:
        self.wanted = wanted
        self.answered: set[str] = set()
        self._sock = sock
        self._size = size
        self._identifier = os.getpid() & 0xFFFF
        self._request = _make_request(self._identifier, size - _IP_HEADER)

    def ask(self, addresses: Iterable[str]) -> None:
        """Send a request to each of some addresses."""
        for address in addresses:
            try:
                self._sock.sendto(self._request, (address, 0))
            except OSError:
                pass  # no route, or larger than a link on the way: nothing answers

    def collect(self, addresses: Set[str], patience: float) -> None:
        """Wait until all of some addresses have answered, but not longer than so many seconds."""
        deadline = time.monotonic() + patience
        while not addresses <= self.answered and (left := deadline - time.monotonic()) > 0:
            if select([self._sock], [], [], left)[0]:
                packet, (source, _) = self._sock.recvfrom(self._size + 64)
                header = packet[(packet[0] & 15) * 4 :]
                if len(header) >= _ECHO.size:
                    kind, _, _, number, _ = _ECHO.unpack_from(header)
                    if (kind, number) == (_REPLY, self._identifier) and source in self.wanted:
                        self.answered.add(source)


def _make_request(identifier: int, size: int) -> bytes:
    content = bytes(max(0, size - _ECHO.size))
    return _ECHO.pack(_REQUEST, 0, _calc_checksum(identifier), identifier, 0) + content


def _calc_checksum(identifier: int) -> int:
    """Return the checksum of a request whose content is zero; see RFC 1071."""
    total = (_REQUEST << 8) + identifier
    return ~(total + (total >> 16)) & 0xFFFF
