"""Which address is next: pure policy, which knows no files.

Round robin: the search begins behind the address that was given last, goes through the set's ranges
in their order and comes round to where it began, so that an address rests as long as possible before
it is given again. What may be given is described by spans; what is taken, the caller's function knows.
"""

from shibafu.lean.ip import Address
from shibafu_ipam.ranges import Range, RangeSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    FindFree = Callable[[int, int, int], int | None]
    Span = tuple[Range, int, int]


def choose_address(
    range_set: RangeSet, last_reserved: Address | None, find_free: "FindFree"
) -> tuple[Range, Address] | None:
    """Return the next free address and the range it is of; None when the set is exhausted.

    Args:
        range_set: the pool.
        last_reserved: what was given last; None, or outside the pool, begins at the first range.
        find_free: returns the lowest free address of (IP version, first, last), as an integer.
    """
    for span_range, first, last in calc_search(range_set, last_reserved):
        value = find_free(span_range.version, first, last)
        if value is not None:
            return span_range, span_range.address_at(value)
    return None


def calc_search(range_set: RangeSet, last_reserved: Address | None) -> "Iterator[Span]":
    """Return the spans to search, in the order of the search; together they are every usable address."""
    ranges = range_set.ranges
    start = 0
    if last_reserved is not None and range_set.range_of(last_reserved) is not None:
        while not ranges[start].contains(last_reserved):
            start += 1
        yield from calc_spans(ranges[start], last_reserved.value + 1, ranges[start].last)
        for one in ranges[start + 1 :]:
            yield from calc_spans(one, one.first, one.last)
        for one in ranges[:start]:
            yield from calc_spans(one, one.first, one.last)
        yield from calc_spans(ranges[start], ranges[start].first, last_reserved.value)
        return
    for one in ranges:
        yield from calc_spans(one, one.first, one.last)


def calc_spans(one: Range, first: int, last: int) -> "Iterator[Span]":
    """Return the usable parts of `first` to `last` of a range: all but the range's own holes.

    A gateway is not given away by its own range only; that of another range is, as in the reference.
    """
    for hole in one.holes:
        if first <= hole <= last:
            if first < hole:
                yield one, first, hole - 1
            first = hole + 1
    if first <= last:
        yield one, first, last


def refuse_requested(one: Range, address: Address) -> str:
    """Return why a requested address of a range may not be given to anybody; empty when it may."""
    if address == one.gateway:
        return f"requested ip {address} is subnet's gateway"
    kind = one.name_hole(address)
    return f"requested ip {address} is {kind} of {one.subnet}" if kind else ""
