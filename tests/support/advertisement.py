"""A router advertisement, RFC 4861, by which a container could pose as a router."""

import socket
from struct import pack

from support.frames import calc_checksum

_ALL_NODES = bytes.fromhex("333300000001")
_SOURCE = bytes.fromhex("fe80000000000000000000000000beef")
_GROUP = bytes.fromhex("ff020000000000000000000000000001")
PREFIX = "2001:db8:bad::"


def calc_advertisement(mac: bytes) -> bytes:
    """Return the frame of a router advertisement: a default router, and a prefix to make addresses of."""
    prefix = socket.inet_pton(socket.AF_INET6, PREFIX)
    option = pack("!BBBBIII16s", 3, 4, 64, 0xC0, 86400, 86400, 0, prefix)
    message = pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + option
    pseudo = _SOURCE + _GROUP + pack("!II", len(message), 58) + message
    message = message[:2] + calc_checksum(pseudo) + message[4:]
    header = pack("!IHBB", 6 << 28, len(message), 58, 255) + _SOURCE + _GROUP
    return _ALL_NODES + mac + b"\x86\xdd" + header + message
