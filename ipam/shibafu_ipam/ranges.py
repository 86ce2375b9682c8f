"""Ranges of addresses and sets of them: what a configuration may state, and what the reference refuses.

A range is a piece of a subnet; a set is a pool of ranges of one family; a container gets one address
of each set. Nothing here depends on files or leases.
"""

from shibafu.cni.config import Section, fold_keys
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.lean.ip import Address, Cidr, parse_address, parse_cidr


class Range:
    """Addresses `first` to `last` of a subnet, both included.

    Args:
        subnet: the subnet, without host bits.
        first: the lowest address as an integer.
        last: the highest address as an integer.
        gateway: what containers get as their gateway; of any subnet, as in the reference.

    Attributes:
        holes: the addresses that are never given out, as integers, in ascending order: the gateway, and
            what does not work as anybody's. That is the broadcast address of IPv4, and the subnet's own,
            which older kernels take for a broadcast, too, and which every router of an IPv6 subnet has.
    """

    __slots__ = ("first", "gateway", "holes", "last", "subnet")

    def __init__(self, subnet: Cidr, first: int, last: int, gateway: Address) -> None:
        self.subnet = subnet
        self.first = first
        self.last = last
        self.gateway = gateway
        holes = {subnet.first, subnet.last} if subnet.version == 4 else {subnet.first}
        if gateway.version == subnet.version:
            holes.add(gateway.value)
        self.holes = sorted(value for value in holes if first <= value <= last)

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.subnet.version

    def contains(self, address: Address) -> bool:
        """Return whether `address` is one of the range, its gateway included."""
        return address.version == self.version and self.first <= address.value <= self.last

    def overlaps(self, other: "Range") -> bool:
        """Return whether both ranges have an address in common."""
        return self.version == other.version and self.first <= other.last and other.first <= self.last

    def address_at(self, value: int) -> Address:
        """Return the address of the range's family whose integer is `value`."""
        return Address(self.version, value)

    def name_hole(self, address: Address) -> str:
        """Return what an address that is never given out is; empty for all others."""
        if address == self.gateway:
            return "the gateway"
        return _name_edge(self.subnet, address.value) if address.value in self.holes else ""

    def __str__(self) -> str:
        return f"{self.address_at(self.first)}-{self.address_at(self.last)}"


class RangeSet:
    """A pool: ranges of one family, none of which overlap.

    Args:
        ranges: at least one.
    """

    __slots__ = ("ranges",)

    def __init__(self, ranges: list[Range]) -> None:
        self.ranges = ranges

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.ranges[0].version

    def range_of(self, address: Address) -> Range | None:
        """Return the range that `address` is in."""
        for candidate in self.ranges:
            if candidate.contains(address):
                return candidate
        return None

    def overlaps(self, other: "RangeSet") -> bool:
        """Return whether both sets have an address in common."""
        return any(a.overlaps(b) for a in self.ranges for b in other.ranges)

    def __str__(self) -> str:
        return ",".join(str(r) for r in self.ranges)


class RangeText:
    """A range as the configuration states it: each text an address or a subnet, but not yet checked.

    The reference decodes the whole document first and judges ranges after that, so a misspelt address
    anywhere is refused before the first range that is invalid.
    """

    subnet: Cidr | None = None
    first: Address | None = None
    last: Address | None = None
    gateway: Address | None = None

    def __init__(self, section: Section) -> None:
        try:
            for attribute, value in section.read(_KEYS):
                setattr(self, attribute, value)
        except ValueError as error:
            raise CniError(
                INVALID_CONFIG,
                str(error),
                'a range needs "subnet" such as 10.1.0.0/16; "rangeStart", "rangeEnd" and "gateway" are '
                "addresses such as 10.1.0.1",
            ) from None

    def resolve(self) -> Range:
        """Return the range, with the defaults of what it does not state.

        Raises:
            ValueError: it is invalid; the reason and, where that does not say so, what to change.
        """
        subnet = self.subnet
        if subnet is None:
            raise ValueError("IP <nil> not v4 nor v6", 'each range needs "subnet", such as 10.1.0.0/16')
        if subnet.prefix > subnet.address.bits - 2:
            raise ValueError(
                f"Network {subnet} too small to allocate from",
                f'"subnet" must be /{subnet.address.bits - 2} or larger',
            )
        network = subnet.network
        if network != subnet:
            raise ValueError(
                f"Network has host bits set. For a subnet mask of length {subnet.prefix} the network "
                f"address is {network.address}"
            )
        first, last = subnet.first + 1, subnet.last
        if subnet.version == 4:
            last -= 1  # the broadcast address
        if self.first is not None:
            if not subnet.contains(self.first) or _is_after(self.first, self.last):
                raise ValueError(f"RangeStart {self.first} not in network {subnet}")
            first = self.first.value
        if self.last is not None:
            if not subnet.contains(self.last) or self.last.value < first:
                raise ValueError(f"RangeEnd {self.last} not in network {subnet}")
            last = self.last.value
        if first >= last and _name_edge(subnet, first):
            # The reference accepts it, and gives it out; with no end, addresses from beyond the subnet, too.
            raise ValueError(f"RangeStart {self.first} is {_name_edge(subnet, first)} of {subnet}")
        gateway = self.gateway or Address(subnet.version, subnet.first + 1)
        return Range(subnet, first, last, gateway)


def parse_ranges(ipam: Section, runtime_config: "Section") -> list[list[RangeText]]:
    """Return the range sets that are stated: the runtime's, the old style's single range, the list's.

    Raises:
        CniError: INVALID_CONFIG for what is not an address or a subnet.
    """
    texts = _parse_sets(runtime_config, "ipRanges")
    single = RangeText(ipam)
    if single.subnet is not None:
        texts.append([single])
    return texts + _parse_sets(ipam, "ranges")


def resolve_range_sets(texts: list[list[RangeText]]) -> list[RangeSet]:
    """Return the sets, checked each for itself and against the others.

    Raises:
        CniError: INVALID_CONFIG with the reference's text.
    """
    if not texts:
        raise CniError(
            INVALID_CONFIG, "no IP ranges specified", 'add "subnet" or "ranges" to the "ipam" section'
        )
    range_sets = []
    for number, ranges in enumerate(texts):
        try:
            range_sets.append(_resolve_range_set(ranges))
        except ValueError as error:
            reason, *details = error.args
            raise CniError(INVALID_CONFIG, f"invalid range set {number}: {reason}", *details) from None
    for number, one in enumerate(range_sets):
        for other_number in range(number + 1, len(range_sets)):
            if one.overlaps(range_sets[other_number]):
                raise CniError(
                    INVALID_CONFIG,
                    f"range set {number} overlaps with {other_number}",
                    "a container gets one address from each set, so sets must not share addresses",
                )
    return range_sets


def _parse_sets(section: Section, key: str) -> list[list[RangeText]]:
    sets = []
    for value in section.array(key):
        ranges = [] if value is None else value
        if not isinstance(ranges, list):
            raise section.wrong_type(key, value, "array")
        sets.append([RangeText(section.item(key, {} if r is None else r)) for r in ranges])
    return sets


def _resolve_range_set(texts: list[RangeText]) -> RangeSet:
    if not texts:
        raise ValueError("empty range set")
    ranges: list[Range] = []
    for text in texts:
        ranges.append(text.resolve())
        if ranges[-1].version != ranges[0].version:
            raise ValueError("mixed address families")
    for number, one in enumerate(ranges):
        for other in ranges[number + 1 :]:
            if one.overlaps(other):
                raise ValueError(f"subnets {one} and {other} overlap")
    return RangeSet(ranges)


def _read_subnet(section: Section, key: str) -> Cidr | None:
    # An empty string is absent for an address and a mistake for a subnet, as in the reference.
    return parse_cidr(section.text(key)) if key in section else None


def _read_address(section: Section, key: str) -> Address | None:
    text = section.text(key)
    return parse_address(text) if text else None


_KEYS = fold_keys(
    ("subnet", "subnet", _read_subnet),
    ("first", "rangeStart", _read_address),
    ("last", "rangeEnd", _read_address),
    ("gateway", "gateway", _read_address),
)


def _name_edge(subnet: Cidr, value: int) -> str:
    """Return what an address of a subnet is that nobody can have; empty for all others."""
    if value == subnet.first:
        return "the network address"
    return "the broadcast address" if subnet.version == 4 and value == subnet.last else ""


def _is_after(address: Address, end: Address | None) -> bool:
    """Return whether `end` is stated and lies before `address`; of another family it is refused later."""
    return end is not None and end.version == address.version and address.value > end.value
