"""Bytes of netlink messages: nlmsghdr and rtattr, both ways.

The layout is that of linux/netlink.h: all integers in host byte order, everything aligned to 4 bytes.
"""

from struct import Struct
from struct import error as StructError  # noqa: N812 - as classes are called
from sys import byteorder

from shibafu.netlink.constants import NLA_F_NESTED, NLA_TYPE_MASK
from shibafu.netlink.errors import NetlinkDecodeError

NLMSGHDR = Struct("=IHHII")  # length, type, flags, sequence number, port id
_RTATTR = Struct("=HH")  # length, type


def pack_message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """Return one netlink message addressed to the kernel.

    Payloads are made of aligned parts, so the message needs no padding of its own.
    """
    return NLMSGHDR.pack(16 + len(payload), kind, flags, sequence, 0) + payload


def attr(kind: int, value: bytes) -> bytes:
    """Return an attribute, padded."""
    return _RTATTR.pack(4 + len(value), kind) + value + bytes(-len(value) & 3)


def attr_u8(kind: int, value: int) -> bytes:
    """Return an attribute that holds an 8-bit integer."""
    return attr(kind, value.to_bytes(1, byteorder))


def attr_u16(kind: int, value: int) -> bytes:
    """Return an attribute that holds a 16-bit integer."""
    return attr(kind, value.to_bytes(2, byteorder))


def attr_u32(kind: int, value: int) -> bytes:
    """Return an attribute that holds a 32-bit integer."""
    return attr(kind, value.to_bytes(4, byteorder))


def attr_string(kind: int, value: str) -> bytes:
    """Return an attribute that holds a NUL-terminated string."""
    return attr(kind, value.encode("utf-8", "surrogateescape") + b"\0")


def attr_nested(kind: int, *attrs: bytes) -> bytes:
    """Return an attribute that holds attributes."""
    return attr(kind | NLA_F_NESTED, b"".join(attrs))


def parse_messages(data: bytes) -> list[tuple[int, int, int, int, bytes]]:
    """Split a datagram into its messages: (type, flags, sequence number, port id, payload).

    Raises:
        NetlinkDecodeError: a length does not fit, in any of the messages.
    """
    messages = []
    offset = 0
    size = len(data)
    while offset < size:
        if size - offset < 16:
            raise NetlinkDecodeError(f"{size - offset} bytes are left over after the last message")
        length, kind, flags, sequence, port = NLMSGHDR.unpack_from(data, offset)
        if length < 16 or length > size - offset:
            raise NetlinkDecodeError(f"message of length {length} where {size - offset} bytes are left")
        messages.append((kind, flags, sequence, port, data[offset + 16 : offset + length]))
        offset += (length + 3) & ~3
    return messages


def parse_attrs(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Parse the attributes from offset to the end, without flags in their types.

    Of attributes of one type, the last counts, as in the kernel.

    Raises:
        NetlinkDecodeError: a length does not fit.
    """
    attrs: dict[int, bytes] = {}
    size = len(data)
    if offset > size:
        raise NetlinkDecodeError(f"{size} bytes where a header of {offset} was expected")
    # A call reads hundreds of them, a third of its bytecode: what the loop needs is local, and makes no list.
    unpack, mask = _RTATTR.unpack_from, NLA_TYPE_MASK
    try:
        while offset < size:
            length, kind = unpack(data, offset)
            end = offset + length
            if length < 4 or end > size:
                raise NetlinkDecodeError(f"attribute of length {length} where {size - offset} bytes are left")
            attrs[kind & mask] = data[offset + 4 : end]
            offset = (end + 3) & ~3
    except StructError:
        message = f"{size - offset} bytes are left over after the last attribute"
        raise NetlinkDecodeError(message) from None
    return attrs


def parse_attr_list(data: bytes, offset: int = 0) -> list[tuple[int, bytes]]:
    """Parse like `parse_attrs`, in order and with all that are of one type.

    Raises:
        NetlinkDecodeError: a length does not fit.
    """
    parse_attrs(data, offset)  # refuses what does not fit
    attrs = []
    while offset < len(data):
        length, kind = _RTATTR.unpack_from(data, offset)
        attrs.append((kind & NLA_TYPE_MASK, data[offset + 4 : offset + length]))
        offset += (length + 3) & ~3
    return attrs


def parse_header(header: Struct, payload: bytes) -> tuple[int, ...]:
    """Unpack the fixed structure that a payload begins with.

    Raises:
        NetlinkDecodeError: the payload is shorter than that.
    """
    if len(payload) < header.size:
        raise NetlinkDecodeError(f"{len(payload)} bytes where a header of {header.size} was expected")
    return header.unpack_from(payload)


def parse_int(value: bytes, size: int) -> int:
    """Decode an unsigned integer of that many bytes.

    Raises:
        NetlinkDecodeError: the value has another size.
    """
    if len(value) != size:
        raise NetlinkDecodeError(f"{len(value)} bytes where an integer of {size} was expected")
    return int.from_bytes(value, byteorder)


def parse_string(value: bytes) -> str:
    """Decode a string, which the kernel may or may not have terminated by NUL."""
    return value.partition(b"\0")[0].decode("utf-8", "surrogateescape")
