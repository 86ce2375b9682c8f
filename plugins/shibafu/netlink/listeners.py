"""Sockets that wait for clients: listening ones of TCP, unconnected ones of UDP (sock_diag(7))."""

from struct import Struct

from shibafu.netlink.codec import parse_attrs
from shibafu.netlink.constants import AF_INET, AF_INET6
from shibafu.netlink.errors import NetlinkDecodeError, NetlinkError
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_INET_DIAG_SKV6ONLY = 11
# sdiag_family, sdiag_protocol, idiag_ext, padding, idiag_states, struct inet_diag_sockid
_REQUEST = Struct("=BBBBI48x")
# struct inet_diag_msg: of it the socket's port and address, and its inode.
_MESSAGE = Struct("=4x2s2x16s16x12x16xI")
# TCP_LISTEN, and TCP_CLOSE, which a socket of UDP is in until it is connected (net/tcp_states.h).
_STATES = {6: 1 << 10, 17: 1 << 7}


class Listener:
    """A socket that waits.

    Args:
        family: AF_INET or AF_INET6.
        protocol: IPPROTO_TCP or IPPROTO_UDP.
        address: the address that it is bound to; all zeros for any.
        port: the port.
        is_ipv6_only: whether one of AF_INET6 takes no IPv4.
        inode: what /proc/PID/fd shows of it.
    """

    __slots__ = ("address", "family", "inode", "is_ipv6_only", "port", "protocol")

    def __init__(
        self, family: int, protocol: int, address: bytes, port: int, is_ipv6_only: bool, inode: int
    ) -> None:
        self.family = family
        self.protocol = protocol
        self.address = address
        self.port = port
        self.is_ipv6_only = is_ipv6_only
        self.inode = inode


def listener_list(protocol: int) -> list[Listener]:
    """Return the sockets of this network namespace that wait; none where the kernel does not tell.

    Args:
        protocol: IPPROTO_TCP or IPPROTO_UDP.
    """
    found: list[Listener] = []
    try:
        with NetlinkSocket(protocol=_NETLINK_SOCK_DIAG) as sock:
            for family in (AF_INET, AF_INET6):
                payload = _REQUEST.pack(family, protocol, 0, 0, _STATES[protocol])
                entries = sock.dump(NetlinkRequest(_SOCK_DIAG_BY_FAMILY, 0, payload, "cannot list sockets"))
                found += [_parse_listener(entry, protocol) for entry in entries]
    except NetlinkError:
        pass  # a kernel without inet_diag
    return found


def _parse_listener(payload: bytes, protocol: int) -> Listener:
    if len(payload) < _MESSAGE.size:
        raise NetlinkDecodeError(f"{len(payload)} bytes where a socket was expected")
    port, address, inode = _MESSAGE.unpack_from(payload)
    family = payload[0]
    attrs = parse_attrs(payload, _MESSAGE.size)
    is_ipv6_only = any(attrs.get(_INET_DIAG_SKV6ONLY, b""))
    size = 4 if family == AF_INET else 16
    return Listener(family, protocol, address[:size], int.from_bytes(port, "big"), is_ipv6_only, inode)
