"""Connections that the kernel tracks (linux/netfilter/nfnetlink_conntrack.h)."""

from _socket import AF_INET
from errno import ENOENT
from struct import Struct, pack

from shibafu.lean.sysctl import read_sysctl
from shibafu.netlink.codec import attr, attr_nested, attr_u8, attr_u32, parse_attrs
from shibafu.netlink.errors import NetlinkDecodeError
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

# linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_conntrack.h
NETLINK_NETFILTER = 12
_CT_GET, _CT_DELETE = 1 << 8 | 1, 1 << 8 | 2
_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_ID, _CTA_ZONE, _CTA_FILTER = 1, 2, 12, 18, 25
_CTA_TUPLE_IP, _CTA_TUPLE_PROTO = 1, 2
_CTA_PROTO_NUM, _CTA_PROTO_SRC_PORT, _CTA_PROTO_DST_PORT = 1, 2, 3
_CTA_FILTER_ORIG_FLAGS, _CTA_FILTER_REPLY_FLAGS = 1, 2
# What the kernel compares (net/netfilter/nf_internals.h); before Linux 5.8 it tells of all.
_FILTER_IP_SRC, _FILTER_IP_DST, _FILTER_PROTO_NUM, _FILTER_PROTO_DST_PORT = 1 << 0, 1 << 1, 1 << 3, 1 << 5
_COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"
# Of CTA_TUPLE_IP: source and destination, by address family.
_CTA_IP = {2: (1, 2), 10: (3, 4)}
_PORT = Struct(">H")
_NFGENMSG_SIZE = 4


class Flow:
    """A tracked connection.

    Args:
        family: AF_INET or AF_INET6.
        protocol: IPPROTO_TCP or another.
        source: the address that its first packet came from.
        source_port: the port, likewise; 0 of a protocol without ports.
        destination: the address that its first packet was for.
        port: the port that it was for.
        answerer: the address that answers come from: the destination, unless that was translated.
        answerer_port: the port, likewise.
        asker: the address that answers go to: the source, unless that was translated.
        parts: what names it to the kernel.
    """

    __slots__ = (
        "answerer",
        "answerer_port",
        "asker",
        "destination",
        "family",
        "parts",
        "port",
        "protocol",
        "source",
        "source_port",
    )

    def __init__(
        self,
        family: int,
        protocol: int,
        source: "tuple[bytes, int]",
        destination: "tuple[bytes, int]",
        answerer: "tuple[bytes, int]",
        asker: bytes,
        parts: bytes,
    ) -> None:
        self.family = family
        self.protocol = protocol
        self.source, self.source_port = source
        self.destination, self.port = destination
        self.answerer, self.answerer_port = answerer
        self.asker = asker
        self.parts = parts


def has_flows() -> bool:
    """Return whether any connection is tracked in the namespace that this process is in.

    To look for some of them, the kernel walks through a table that is that of all namespaces.
    """
    try:
        return read_sysctl(_COUNT) != "0"
    except OSError:
        return False  # the kernel tracks none


def flow_list(
    sock: NetlinkSocket,
    family: int,
    protocol: int = 0,
    port: int = 0,
    answerer: bytes = b"",
    asker: bytes = b"",
) -> list[Flow]:
    """Return the connections of a protocol. The kernel filters as far as it can.

    Args:
        sock: a socket of NETLINK_NETFILTER.
        family: AF_INET or AF_INET6.
        protocol: IPPROTO_UDP or another that has ports; 0 for all there are.
        port: the port that their first packets were for; 0 for any.
        answerer: the address that answers come from; empty for any.
        asker: the address that answers go to; empty for any.

    Raises:
        NetlinkError: the kernel tracks none, or refuses.
    """
    numbers = attr_u8(_CTA_PROTO_NUM, protocol) + attr(_CTA_PROTO_DST_PORT, _PORT.pack(port))
    original = (_FILTER_PROTO_NUM if protocol else 0) | (_FILTER_PROTO_DST_PORT if port else 0)
    payload = _nfgenmsg(family) + attr_nested(_CTA_TUPLE_ORIG, attr_nested(_CTA_TUPLE_PROTO, numbers))
    # Of IPv6, Linux 6.18 tells of all others (ctnetlink_filter_match_tuple).
    ends, reply = b"", 0
    if family == AF_INET:
        for kind, address, flag in zip(
            _CTA_IP[family], (answerer, asker), (_FILTER_IP_SRC, _FILTER_IP_DST), strict=True
        ):
            if address:
                ends += attr(kind, address)
                reply |= flag
    if ends:
        payload += attr_nested(_CTA_TUPLE_REPLY, attr_nested(_CTA_TUPLE_IP, ends))
    flags = attr_u32(_CTA_FILTER_ORIG_FLAGS, original)
    flags += attr_u32(_CTA_FILTER_REPLY_FLAGS, reply)
    payload += attr_nested(_CTA_FILTER, flags)
    entries = sock.dump(NetlinkRequest(_CT_GET, 0, payload, "cannot list connections"))
    flows = (_parse_flow(entry, protocol) for entry in entries)
    found = (flow for flow in flows if flow is not None and flow.family == family)
    return [
        flow
        for flow in found
        if port in (0, flow.port) and answerer in (b"", flow.answerer) and asker in (b"", flow.asker)
    ]


def flow_del(sock: NetlinkSocket, flows: list[Flow]) -> None:
    """Delete connections: their next packets count as the first ones of new connections.

    Raises:
        NetlinkError: the kernel refuses.
    """
    requests = [
        NetlinkRequest(_CT_DELETE, 0, _nfgenmsg(flow.family) + flow.parts, "cannot forget a connection")
        for flow in flows
    ]
    sock.request_all([request.ignoring(ENOENT) for request in requests])


def _parse_flow(payload: bytes, protocol: int) -> Flow | None:
    """Decode a connection; None for one of another protocol, if one is given."""
    family = payload[0]
    attrs = parse_attrs(payload, _NFGENMSG_SIZE)
    try:
        original, reply = (parse_attrs(attrs[kind]) for kind in (_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY))
        found = parse_attrs(original[_CTA_TUPLE_PROTO])[_CTA_PROTO_NUM][0]
        if protocol not in (0, found):
            return None
        source, destination = _CTA_IP[family]
        asking = _parse_end(original, source, _CTA_PROTO_SRC_PORT)
        asked = _parse_end(original, destination, _CTA_PROTO_DST_PORT)
        answering = _parse_end(reply, source, _CTA_PROTO_SRC_PORT)
        asker, _ = _parse_end(reply, destination, _CTA_PROTO_DST_PORT)
    except (IndexError, KeyError):
        raise NetlinkDecodeError("a connection without its addresses") from None
    parts = attr_nested(_CTA_TUPLE_ORIG, attrs[_CTA_TUPLE_ORIG])
    parts += b"".join(attr(kind, attrs[kind]) for kind in (_CTA_ID, _CTA_ZONE) if kind in attrs)
    return Flow(family, found, asking, asked, answering, asker, parts)


def _parse_end(tuple_attrs: "dict[int, bytes]", address: int, port: int) -> "tuple[bytes, int]":
    """Return an address and its port of a tuple; 0 if the protocol has none."""
    found = parse_attrs(tuple_attrs[_CTA_TUPLE_PROTO]).get(port)
    number: int = _PORT.unpack(found)[0] if found else 0
    return parse_attrs(tuple_attrs[_CTA_TUPLE_IP])[address], number


def _nfgenmsg(family: int) -> bytes:
    return pack(">BBH", family, 0, 0)
