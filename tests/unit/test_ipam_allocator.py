"""The order in which addresses are given, and the bitmap that finds a free one, without a disk."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.cni.config import Section
from shibafu.lean.ip import Address, parse_address
from shibafu_ipam.allocator import calc_search, choose_address
from shibafu_ipam.bitmap import PAGE_ADDRESSES, PAGE_BYTES, find_free_bit
from shibafu_ipam.ranges import RangeSet, RangeText, resolve_range_sets
from shibafu_ipam.rebuild import MemoryPages


def make_set(*ranges: dict[str, object]) -> RangeSet:
    return resolve_range_sets([[RangeText(Section(r, "NetConf.ipam")) for r in ranges]])[0]


def calc_order(range_set: RangeSet, last: str | None) -> list[str]:
    spans = calc_search(range_set, parse_address(last) if last else None)
    return [str(r.address_at(value)) for r, first, end in spans for value in range(first, end + 1)]


SMALL: dict[str, object] = {"subnet": "10.1.0.0/29"}  # .1 is the gateway, .2 to .6 are given
# .1 to .3
OTHER: dict[str, object] = {"subnet": "10.2.0.0/29", "rangeEnd": "10.2.0.3", "gateway": "10.1.0.3"}


@pytest.mark.parametrize(
    ("last", "order"),
    [
        (None, "1.0.2 1.0.3 1.0.4 1.0.5 1.0.6 2.0.1 2.0.2 2.0.3"),
        ("10.9.0.1", "1.0.2 1.0.3 1.0.4 1.0.5 1.0.6 2.0.1 2.0.2 2.0.3"),
        ("10.1.0.1", "1.0.2 1.0.3 1.0.4 1.0.5 1.0.6 2.0.1 2.0.2 2.0.3"),
        ("10.1.0.4", "1.0.5 1.0.6 2.0.1 2.0.2 2.0.3 1.0.2 1.0.3 1.0.4"),
        ("10.1.0.6", "2.0.1 2.0.2 2.0.3 1.0.2 1.0.3 1.0.4 1.0.5 1.0.6"),
        ("10.2.0.2", "2.0.3 1.0.2 1.0.3 1.0.4 1.0.5 1.0.6 2.0.1 2.0.2"),
        ("10.2.0.3", "1.0.2 1.0.3 1.0.4 1.0.5 1.0.6 2.0.1 2.0.2 2.0.3"),
    ],
)
def test_the_order(last: str | None, order: str) -> None:
    assert calc_order(make_set(SMALL, OTHER), last) == [f"10.{a}" for a in order.split()]


def test_a_range_of_nothing_but_its_gateway() -> None:
    only = make_set({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.1", "rangeEnd": "10.1.0.1"})
    assert not calc_order(only, None)
    assert choose_address(only, None, MemoryPages().find_free) is None


@pytest.mark.parametrize(
    ("subnet", "start", "end", "gateway", "order"),
    [
        ("10.1.0.0/24", "10.1.0.253", "10.1.0.255", "10.1.0.1", ["10.1.0.253", "10.1.0.254"]),
        ("10.1.0.0/24", "10.1.0.253", "10.1.0.255", "10.1.0.254", ["10.1.0.253"]),
        ("10.1.0.0/24", "10.1.0.254", "10.1.0.255", "10.1.0.254", []),
        ("10.1.0.0/24", "10.1.0.0", "10.1.0.2", "10.1.0.1", ["10.1.0.2"]),
        ("10.1.0.0/30", "10.1.0.0", "10.1.0.3", "10.9.0.1", ["10.1.0.1", "10.1.0.2"]),
        ("10.1.0.0/30", "10.1.0.0", "10.1.0.3", "fd00::1", ["10.1.0.1", "10.1.0.2"]),
        ("fd00::/126", "fd00::", "fd00::3", "fd00::1", ["fd00::2", "fd00::3"]),
    ],
)
def test_what_works_as_nobodys_address_is_never_given(
    subnet: str, start: str, end: str, gateway: str, order: list[str]
) -> None:
    one = make_set({"subnet": subnet, "rangeStart": start, "rangeEnd": end, "gateway": gateway})
    assert calc_order(one, None) == order
    assert sorted(calc_order(one, end)) == order
    assert sorted(calc_order(one, start)) == order


def test_the_gateway_of_another_range_is_given() -> None:
    assert "10.1.0.3" in calc_order(make_set(SMALL, OTHER), None)


def test_an_ipv6_subnet_is_searched_by_what_is_taken() -> None:
    pages = MemoryPages()
    huge = make_set({"subnet": "fd00::/64"})
    base = parse_address("fd00::").value
    for value in range(2, 3 * PAGE_ADDRESSES):
        pages.set_taken(6, base + value)
    chosen = choose_address(huge, None, pages.find_free)
    assert chosen is not None
    assert chosen[1] == Address(6, base + 3 * PAGE_ADDRESSES)
    last = choose_address(huge, parse_address("fd00::ffff:ffff:ffff:fffe"), pages.find_free)
    assert last is not None
    assert str(last[1]) == "fd00::ffff:ffff:ffff:ffff"


@given(st.binary(max_size=PAGE_BYTES), st.integers(0, PAGE_ADDRESSES - 1), st.integers(0, PAGE_ADDRESSES - 1))
def test_the_lowest_free_bit(page: bytes, one: int, other: int) -> None:
    first, last = sorted((one, other))
    padded = page + bytes(PAGE_BYTES - len(page))
    expected = next((n for n in range(first, last + 1) if not padded[n >> 3] >> (n & 7) & 1), None)
    assert find_free_bit(page, first, last) == expected


def test_a_full_page() -> None:
    assert find_free_bit(b"\xff" * PAGE_BYTES, 0, PAGE_ADDRESSES - 1) is None
    nearly = bytearray(b"\xff" * PAGE_BYTES)
    nearly[-1] = 0x7F
    assert find_free_bit(bytes(nearly), 5, PAGE_ADDRESSES - 1) == PAGE_ADDRESSES - 1
