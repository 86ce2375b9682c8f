"""The codec itself: what it encodes it decodes, and nothing that comes in can upset it."""

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink import nlmsg

from shibafu.netlink import codec
from shibafu.netlink.address import parse_addr
from shibafu.netlink.constants import NLA_F_NESTED
from shibafu.netlink.errors import NetlinkDecodeError
from shibafu.netlink.link import parse_link
from shibafu.netlink.link_requests import link_add_veth
from shibafu.netlink.route import parse_kernel_route, route_add

kinds = st.integers(0, 0x3FFF)
numbers = st.integers(0, 0xFFFF)
attr_lists = st.lists(st.tuples(kinds, st.binary(max_size=40)), max_size=8)

DECODERS: list[Callable[[bytes], object]] = [
    codec.parse_messages,
    codec.parse_attr_list,
    codec.parse_attrs,
    parse_link,
    parse_addr,
    parse_kernel_route,
]


@given(attr_lists)
def test_attributes_come_back(attrs: list[tuple[int, bytes]]) -> None:
    data = b"".join(codec.attr(kind, value) for kind, value in attrs)
    assert len(data) % 4 == 0
    assert codec.parse_attr_list(data) == attrs
    assert codec.parse_attrs(data) == dict(attrs)


@given(attr_lists, kinds)
def test_nested_attributes_come_back_without_the_flag(attrs: list[tuple[int, bytes]], kind: int) -> None:
    data = codec.attr_nested(kind, *(codec.attr(*attr) for attr in attrs))
    [(got, value)] = codec.parse_attr_list(data)
    assert got == kind
    assert codec.parse_attr_list(value) == attrs
    assert int.from_bytes(data[2:4], sys.byteorder) & NLA_F_NESTED


@given(st.lists(st.tuples(numbers, numbers, st.integers(0, 2**32 - 1), attr_lists)))
def test_messages_come_back(messages: list[tuple[int, int, int, list[tuple[int, bytes]]]]) -> None:
    data = b""
    expected = []
    for kind, flags, sequence, attrs in messages:
        payload = b"".join(codec.attr(*attr) for attr in attrs)
        data += codec.pack_message(kind, flags, sequence, payload)
        expected.append((kind, flags, sequence, 0, payload))
    assert codec.parse_messages(data) == expected


def test_message_header_is_what_pyroute2_writes() -> None:
    theirs = nlmsg()
    theirs["header"].update({"type": 18, "flags": 0x301, "sequence_number": 9, "pid": 0})
    theirs.encode()
    assert codec.pack_message(18, 0x301, 9, b"") == bytes(theirs.data)


@pytest.mark.parametrize("value", ["", "eth0", "Ärger", "\udcff"])
def test_strings_come_back(value: str) -> None:
    [(_, raw)] = codec.parse_attr_list(codec.attr_string(3, value))
    assert raw.endswith(b"\0")
    assert codec.parse_string(raw) == value
    assert codec.parse_string(raw[:-1]) == value


@pytest.mark.parametrize(
    ("encode", "size"),
    [(codec.attr_u8, 1), (codec.attr_u16, 2), (codec.attr_u32, 4)],
    ids=["u8", "u16", "u32"],
)
def test_integers_come_back(encode: Callable[[int, int], bytes], size: int) -> None:
    for value in (0, 1, 256**size - 1):
        [(_, raw)] = codec.parse_attr_list(encode(1, value))
        assert codec.parse_int(raw, size) == value
        with pytest.raises(NetlinkDecodeError):
            codec.parse_int(raw + b"\0", size)
    with pytest.raises(OverflowError):
        encode(1, 256**size)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\0", id="shorter than a header"),
        pytest.param(b"\3\0\1\0", id="length shorter than the header"),
        pytest.param(b"\0\0\1\0", id="length 0, which must not loop"),
        pytest.param(b"\x09\0\1\0abcd", id="length beyond the end"),
        pytest.param(b"\x05\0\1\0abcd\1", id="left over after the last"),
    ],
)
def test_malformed_attributes_are_refused(data: bytes) -> None:
    with pytest.raises(NetlinkDecodeError, match="cannot decode netlink message"):
        codec.parse_attr_list(data)


@given(st.sampled_from(DECODERS), st.binary(max_size=200))
def test_garbage_raises_nothing_else(decoder: Callable[[bytes], object], data: bytes) -> None:
    _decode_or_refuse(decoder, data)


@given(st.sampled_from([parse_link, parse_kernel_route, parse_addr]), st.integers(0, 200), st.data())
def test_damaged_messages_raise_nothing_else(
    decoder: Callable[[bytes], object], end: int, data: st.DataObject
) -> None:
    veth = link_add_veth("veth1", "eth0", 7, bytes(6), bytes(6), 1500, 3).payload
    route = route_add(3, bytes(4), 8, bytes(4), mtu=1400, table=1000).payload
    payload = bytearray(route if decoder is parse_kernel_route else veth)[:end]
    if payload:
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    _decode_or_refuse(decoder, bytes(payload))


def _decode_or_refuse(decoder: Callable[[bytes], object], data: bytes) -> None:
    try:
        decoder(data)
    except NetlinkDecodeError as error:
        assert str(error).startswith("cannot decode netlink message: ")  # noqa: PT017
