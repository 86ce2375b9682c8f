"""Which addresses answer to an ICMP echo request of a certain size, asked all at once.

However many there are and however few of them answer, it takes little more time than one that does not: a
thousand take 0.3 s longer. Requests are sent in crowds, after each of which the answers that are there are
read, so that neither those of a live crowd nor the requests to a dead one fill a buffer. Of absent hosts on
one link the kernel looks for 1,024 at most (gc_thresh3 of arp(7)): those that come after them get no request.
"""

import os
import socket
import time
from collections.abc import Iterable, Mapping, Set
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from select import select
from struct import Struct

# type, code, checksum, identifier, sequence number (RFC 792 and RFC 4443)
_ECHO = Struct("!BBHHH")
# linux/in.h: never fragment, not even on the way; linux/icmpv6.h: which messages are not wanted, bit by bit.
_IP_MTU_DISCOVER, _IP_PMTUDISC_DO, _ICMPV6_FILTER = 10, 2, 1
# Hosts asked at once, as many answers as fit into a socket's buffer, and seconds until the next ones are.
_CROWD, _PAUSE = 64, 0.02


@dataclass(frozen=True)
class _Family:
    """What differs between ICMP and ICMPv6.

    Args:
        request: the type of an echo request.
        reply: that of its answer.
        header: the length of the IP header, in bytes.
    """

    request: int
    reply: int
    header: int


_FAMILIES = {4: _Family(8, 0, 20), 6: _Family(128, 129, 40)}


def probe_addresses(addresses: Iterable[str], size: int = 64, patience: float = 1.0) -> set[str]:
    """Return those of some addresses that answer.

    Args:
        addresses: whom to ask, of either family, as `ipaddress` writes them.
        size: of each packet with its headers, in bytes; it is not fragmented.
        patience: seconds to wait for the last answers.

    Raises:
        PermissionError: the process lacks CAP_NET_RAW.
    """
    wanted: dict[str, int] = {address: ip_address(address).version for address in addresses}
    with ExitStack() as stack:
        sockets = {
            version: stack.enter_context(_open_socket(version)) for version in sorted(set(wanted.values()))
        }
        probe = _Probe(sockets, wanted, size)
        order = list(wanted)
        for begin in range(0, len(order), _CROWD):
            crowd = order[begin : begin + _CROWD]
            probe.ask(crowd)
            probe.collect(set(crowd), _PAUSE)
        probe.collect(wanted.keys(), patience)
    return probe.answered


class _Probe:
    """Requests of one size.

    Args:
        sockets: raw ones, by the version of IP.
        wanted: whose answers count, with the version of each.
        size: see `probe_addresses`.

    Attributes:
        answered: who has answered.
    """

    def __init__(self, sockets: Mapping[int, socket.socket], wanted: Mapping[str, int], size: int) -> None:
        self.answered: set[str] = set()
        self._sockets = sockets
        self._versions = {sock: version for version, sock in sockets.items()}
        self._wanted = wanted
        self._size = size
        self._identifier = os.getpid() & 0xFFFF
        self._requests = {
            version: _make_request(family.request, self._identifier, size - family.header)
            for version, family in _FAMILIES.items()
        }

    def ask(self, addresses: Iterable[str]) -> None:
        """Send a request to each of some addresses."""
        for address in addresses:
            version = self._wanted[address]
            try:
                self._sockets[version].sendto(self._requests[version], (address, 0))
            except OSError:
                pass  # no route, or larger than a link on the way: nothing answers

    def collect(self, addresses: Set[str], patience: float) -> None:
        """Wait until all of some addresses have answered, but not longer than so many seconds."""
        deadline = time.monotonic() + patience
        while not addresses <= self.answered and (left := deadline - time.monotonic()) > 0:
            for sock in select(list(self._versions), [], [], left)[0]:
                packet, (source, *_) = sock.recvfrom(self._size + 64)
                version = self._versions[sock]
                # The kernel takes the header of IPv6 off.
                header = packet[(packet[0] & 15) * 4 :] if version == 4 else packet
                if len(header) >= _ECHO.size:
                    kind, _, _, number, _ = _ECHO.unpack_from(header)
                    is_answer = (kind, number) == (_FAMILIES[version].reply, self._identifier)
                    if is_answer and source in self._wanted:
                        self.answered.add(source)


def _open_socket(version: int) -> socket.socket:
    if version == 4:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
        return sock
    sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, 1)
    others = ~(1 << _FAMILIES[6].reply) & (1 << 256) - 1
    # Words of 32 bits, the lowest types first, each as the machine has it.
    words = [others >> 32 * index & 0xFFFFFFFF for index in range(8)]
    sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, Struct("=8I").pack(*words))
    return sock


def _make_request(kind: int, identifier: int, size: int) -> bytes:
    """Return a request; of ICMPv6, the kernel computes the checksum."""
    content = bytes(max(0, size - _ECHO.size))
    return _ECHO.pack(kind, 0, _calc_checksum(kind, identifier), identifier, 0) + content


def _calc_checksum(kind: int, identifier: int) -> int:
    """Return the checksum of a request whose content is zero; see RFC 1071."""
    total = (kind << 8) + identifier
    return ~(total + (total >> 16)) & 0xFFFF
