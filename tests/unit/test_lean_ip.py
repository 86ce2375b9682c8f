"""Addresses and subnets, compared with the standard library's `ipaddress`."""

import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.lean.ip import Address, Cidr, parse_address, parse_cidr

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Reference = ipaddress.IPv4Address | ipaddress.IPv6Address
# An IPv4 address mapped into IPv6 is read as the IPv4 address, on purpose; a test of its own says so.
ADDRESSES = st.ip_addresses().filter(lambda ip: getattr(ip, "ipv4_mapped", None) is None)


@st.composite
def interfaces(draw: st.DrawFn) -> Interface:
    ip = draw(ADDRESSES)
    return ipaddress.ip_interface((ip, draw(st.integers(0, ip.max_prefixlen))))


@given(ADDRESSES)
def test_an_address_is_what_ipaddress_says(ip: Reference) -> None:
    for text in (str(ip), ip.exploded):
        address = parse_address(text)
        assert address.version == ip.version
        assert address.value == int(ip)
        assert address.packed == ip.packed
        assert address.bits == ip.max_prefixlen
        assert str(address) == str(ip) or "." in str(address)  # ::a.b.c.d has two spellings
        assert parse_address(str(address)) == address
        assert Address.from_packed(ip.packed) == address
        assert hash(Address.from_packed(ip.packed)) == hash(address)


@given(interfaces())
def test_a_subnet_is_what_ipaddress_says(interface: Interface) -> None:
    cidr = parse_cidr(interface.with_prefixlen)
    assert cidr.version == interface.version
    assert cidr.first == int(interface.network.network_address)
    assert cidr.last == int(interface.network.broadcast_address)
    assert cidr.network == Cidr(Address(cidr.version, cidr.first), interface.network.prefixlen)
    assert cidr.network.network == cidr.network
    assert parse_cidr(str(cidr)) == cidr
    assert hash(parse_cidr(str(cidr))) == hash(cidr)


@given(interfaces(), ADDRESSES)
def test_contains(interface: Interface, ip: Reference) -> None:
    cidr = parse_cidr(str(interface))
    assert cidr.contains(Address.from_packed(ip.packed)) == (ip in interface.network)
    assert cidr.contains(cidr.address)


@given(interfaces(), interfaces())
def test_overlaps(one: Interface, other: Interface) -> None:
    same_family = one.version == other.version
    expected = same_family and one.network.overlaps(other.network)
    assert parse_cidr(str(one)).overlaps(parse_cidr(str(other))) == expected


ALMOST = st.one_of(st.text(max_size=50), st.text("0123456789abcdef:./", max_size=50))


def accepts(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


@given(ALMOST)
def test_what_ipaddress_refuses_is_refused(text: str) -> None:
    # A zone (fe80::1%eth0) is not part of an address in a configuration.
    if "%" in text or not accepts(ipaddress.ip_address, text):
        with pytest.raises(ValueError, match=r"^invalid IP address: "):
            parse_address(text)
    else:
        assert accepts(parse_address, text)


@given(ALMOST)
def test_a_subnet_that_ipaddress_refuses_is_refused(text: str) -> None:
    # ipaddress takes an address for its own subnet, and a mask in place of the prefix's length.
    if "/" not in text or not accepts(ipaddress.ip_interface, text):
        with pytest.raises(ValueError, match=r"^invalid CIDR address: "):
            parse_cidr(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bogus",
        "10.0.0.1",
        "10.0.0.1/",
        "10.0.0.1/33",
        "10.0.0.1/-1",
        "10.0.0.1/+8",
        "10.0.0.1/8/8",
        "10.0.0.1/²",
        "10.0.0.1/٢",
        "10.0.0.1/" + "9" * 5000,
        "10.0.0/8",
        "010.0.0.1/8",
        "fd00::1/129",
        "fd00::1%eth0/64",
        "fe80::1%1/64",
        "10.0.0.1\0/8",
        "10.0.0.1/8\n",
        " 10.0.0.1/8",
    ],
)
def test_bad_subnets(text: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid CIDR address: "):
        parse_cidr(text)


def test_an_ipv4_address_in_ipv6_clothes_is_an_ipv4_address() -> None:
    assert parse_address("::ffff:10.1.0.7") == parse_address("10.1.0.7")
    assert str(parse_address("::ffff:a01:7")) == "10.1.0.7"


def test_host_bits_are_kept() -> None:
    assert str(parse_cidr("10.1.0.7/24")) == "10.1.0.7/24"
    assert str(parse_cidr("10.1.0.7/24").network) == "10.1.0.0/24"


def test_families_are_never_equal() -> None:
    assert Address(4, 1) != Address(6, 1)
    assert Cidr(Address(4, 0), 0) != Cidr(Address(6, 0), 0)
    assert not Cidr(Address(4, 0), 0).contains(Address(6, 1))
    assert Address(4, 1) != "0.0.0.1"
