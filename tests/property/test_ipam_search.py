"""The allocator against the reference's way of going through the addresses one by one."""

from collections.abc import Iterator

from hypothesis import assume, given
from hypothesis import strategies as st

from shibafu.lean.ip import Address, Cidr
from shibafu_ipam.allocator import calc_search, choose_address
from shibafu_ipam.bitmap import PAGE_ADDRESSES
from shibafu_ipam.ranges import Range, RangeSet
from shibafu_ipam.rebuild import MemoryPages

BASE = 10 << 24 | PAGE_ADDRESSES - 20  # so that ranges cross the border of a page


@st.composite
def range_sets(draw: st.DrawFn) -> RangeSet:
    """Return small ranges that do not overlap, in any order, with gateways inside or outside."""
    edges = draw(st.lists(st.integers(0, 60), min_size=2, max_size=8, unique=True).map(sorted))
    pairs = draw(st.permutations(list(zip(edges[::2], edges[1::2], strict=False))))
    assume(pairs)
    subnet = Cidr(Address(4, 10 << 24), 8)
    return RangeSet(
        [
            Range(subnet, BASE + first, BASE + last, Address(4, BASE + draw(st.integers(0, 60))))
            for first, last in pairs
        ]
    )


def walk(range_set: RangeSet, last: int | None) -> Iterator[int]:
    """Yield each address as host-local's iterator does: one up from the last, round to the start."""
    ranges = range_set.ranges
    where = next((n for n, r in enumerate(ranges) if last is not None and r.first <= last <= r.last), None)
    if where is None or last is None:
        where, current = 0, ranges[0].first
    else:
        current = last
    begin: int | None = None
    advance = last is not None and ranges[where].first <= last <= ranges[where].last
    while True:
        if advance:
            if current == ranges[where].last:
                where = (where + 1) % len(ranges)
                current = ranges[where].first
            else:
                current += 1
        advance = True
        if begin is None:
            begin = current
        elif current == begin:
            return
        if current != ranges[where].gateway.value:
            yield current


@given(range_sets(), st.one_of(st.none(), st.integers(BASE - 2, BASE + 62)))
def test_the_order_is_the_references(range_set: RangeSet, last: int | None) -> None:
    last_reserved = None if last is None else Address(4, last)
    spans = calc_search(range_set, last_reserved)
    assert [v for _, first, end in spans for v in range(first, end + 1)] == list(walk(range_set, last))


@given(
    range_sets(),
    st.one_of(st.none(), st.integers(BASE - 2, BASE + 62)),
    st.sets(st.integers(BASE, BASE + 60)),
)
def test_the_choice_is_the_references(range_set: RangeSet, last: int | None, taken: set[int]) -> None:
    pages = MemoryPages()
    for value in taken:
        pages.set_taken(4, value)
    choice = choose_address(range_set, None if last is None else Address(4, last), pages.find_free)
    expected = next((value for value in walk(range_set, last) if value not in taken), None)
    assert (choice[1].value if choice else None) == expected
    assert choice is None or choice[0].contains(choice[1])
