"""Requests about neighbours and FDBs, as pyroute2 reads them."""

from ipaddress import ip_address

from hypothesis import given

from shibafu.netlink import constants as c
from shibafu.netlink.neighbour import (
    fdb_del,
    fdb_replace,
    neighbour_del,
    neighbour_replace,
    parse_neighbour,
)
from support.pyroute2_view import decode
from wire.strategies import indexes, ips, macs

REPLACE = c.NLM_F_CREATE | c.NLM_F_REPLACE


def header(family: int, index: int, state: int, flags: int = 0) -> dict[str, int]:
    return {"family": family, "ifindex": index, "state": state, "flags": flags, "ndm_type": 0}


def calc_family(ip: bytes) -> int:
    return c.AF_INET if len(ip) == 4 else c.AF_INET6


@given(indexes, ips, macs)
def test_neighbour(index: int, ip: bytes, mac: bytes) -> None:
    request = neighbour_replace(index, ip, mac)
    assert (request.type, request.flags) == (c.RTM_NEWNEIGH, REPLACE)
    fields, attrs = decode(request)
    assert fields == header(calc_family(ip), index, c.NUD_PERMANENT)
    assert attrs == [("NDA_DST", str(ip_address(ip))), ("NDA_LLADDR", mac.hex(":"))]
    request = neighbour_del(index, ip)
    assert (request.type, request.flags) == (c.RTM_DELNEIGH, 0)
    assert decode(request) == (header(calc_family(ip), index, 0), [("NDA_DST", str(ip_address(ip)))])


@given(indexes, macs, ips)
def test_fdb(index: int, mac: bytes, dst: bytes) -> None:
    request = fdb_replace(index, mac, dst)
    assert (request.type, request.flags) == (c.RTM_NEWNEIGH, REPLACE)
    fields, attrs = decode(request)
    assert fields == header(c.AF_BRIDGE, index, c.NUD_PERMANENT, c.NTF_SELF)
    assert attrs == [("NDA_DST", str(ip_address(dst))), ("NDA_LLADDR", mac.hex(":"))]
    request = fdb_del(index, mac, dst)
    assert (request.type, request.flags) == (c.RTM_DELNEIGH, 0)
    assert decode(request) == (header(c.AF_BRIDGE, index, 0, c.NTF_SELF), attrs)


@given(indexes, ips, macs)
def test_what_is_asked_for_is_read(index: int, ip: bytes, mac: bytes) -> None:
    """The kernel answers in the same words."""
    for request, family in (
        (neighbour_replace(index, ip, mac), calc_family(ip)),
        (fdb_replace(index, mac, ip), c.AF_BRIDGE),
    ):
        read = parse_neighbour(request.payload)
        assert (read.index, read.family, read.dst, read.mac) == (index, family, ip, mac)
        assert read.permanent
