"""Which addresses answer to an ICMP echo request of a certain size, asked all at once."""

import os
import socket
import time
from collections.abc import Iterable
from select import select
from struct import Struct

# type, code, checksum, identifier, sequence number (RFC 792)
_ECHO = Struct("!BBHHH")
_REQUEST, _REPLY = 8, 0
_IP_HEADER = 20
# linux/in.h: never fragment, not even on the way.
_IP_MTU_DISCOVER, _IP_PMTUDISC_DO = 10, 2
# Hosts asked at once: as many answers fit into a socket's buffer.
_CROWD = 64


def probe_addresses(addresses: Iterable[str], size: int = 64, patience: float = 1.0) -> set[str]:
    """Return those of some IPv4 addresses that answer.

    Args:
        addresses: whom to ask.
        size: of each packet with its headers, in bytes; it is not fragmented.
        patience: seconds to wait for the answers.

    Raises:
        PermissionError: the process lacks CAP_NET_RAW.
    """
    wanted = list(addresses)
    answered: set[str] = set()
    for begin in range(0, len(wanted), _CROWD):
        answered |= _probe(wanted[begin : begin + _CROWD], size, patience)
    return answered


def _probe(addresses: list[str], size: int, patience: float) -> set[str]:
    identifier = os.getpid() & 0xFFFF
    answered: set[str] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
        request = _make_request(identifier, size - _IP_HEADER)
        for address in addresses:
            try:
                sock.sendto(request, (address, 0))
            except OSError:
                pass  # no route, or larger than a link on the way: nothing answers
        deadline = time.monotonic() + patience
        while len(answered) < len(addresses) and (left := deadline - time.monotonic()) > 0:
            if select([sock], [], [], left)[0]:
                packet, (source, _) = sock.recvfrom(size + 64)
                header = packet[(packet[0] & 15) * 4 :]
                if len(header) >= _ECHO.size:
                    kind, _, _, number, _ = _ECHO.unpack_from(header)
                    if (kind, number) == (_REPLY, identifier) and source in addresses:
                        answered.add(source)
    return answered


def _make_request(identifier: int, size: int) -> bytes:
    content = bytes(max(0, size - _ECHO.size))
    return _ECHO.pack(_REQUEST, 0, _calc_checksum(identifier), identifier, 0) + content


def _calc_checksum(identifier: int) -> int:
    """Return the checksum of a request whose content is zero; see RFC 1071."""
    total = (_REQUEST << 8) + identifier
    return ~(total + (total >> 16)) & 0xFFFF
