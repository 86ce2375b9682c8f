"""Choosing subnets: which are in use on this machine, and which is free."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_address, ip_network
from typing import TypeVar

from shibafu.cni.names import calc_digest
from shibafu.command.errors import CommandError, UsageError
from shibafu.command.kernel import Network
from shibafu.command.specification import Address, Subnet

T = TypeVar("T")

# Private addresses (RFC 1918), given out by /24; what is in use is passed over.
_POOLS = (ip_network("172.20.0.0/14"), ip_network("10.200.0.0/13"))
# Where the network that everybody has lies; its neighbours are free to be chosen.
DEFAULT_SUBNET = ip_network("172.20.0.0/24")


@dataclass(frozen=True)
class Use:
    """A subnet that is in use.

    Args:
        network: the subnet.
        what: by what, as in "overlaps with ...".
    """

    network: Network
    what: str


def find_overlap(network: Network, uses: list[Use]) -> Use | None:
    """Return what has an address in common with a subnet."""
    return next((use for use in uses if _overlaps(use.network, network)), None)


def _overlaps(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def require_free(network: Network, uses: list[Use]) -> None:
    """Refuse a subnet that is in use.

    Raises:
        CommandError: by what.
    """
    use = find_overlap(network, uses)
    if use is not None:
        raise CommandError(
            f"subnet {network} overlaps with {use.what}",
            "packets would take one way or the other; leave --subnet out to have a free one chosen",
        )


def choose_subnet(uses: list[Use]) -> Network:
    """Return a free IPv4 subnet of 256 addresses.

    Raises:
        CommandError: all are in use.
    """
    taken = [*uses, Use(DEFAULT_SUBNET, "the default network")]
    for candidate in _candidates():
        if find_overlap(candidate, taken) is None:
            return candidate
    pools = " and ".join(str(pool) for pool in _POOLS)
    raise CommandError(f"no subnet of {pools} is free", "state one with --subnet")


def _candidates() -> Iterator[Network]:
    for pool in _POOLS:
        yield from pool.subnets(new_prefix=24)


def choose_ipv6_subnet(network: str, machine_id: str, uses: list[Use]) -> Network:
    """Return a free /64 of unique local addresses, RFC 4193: the same for a network whenever it is made.

    Raises:
        CommandError: it is in use, which takes a chance of one in 2**56, or the same name twice.
    """
    digits = "fd" + calc_digest("ula", machine_id, network, size=7)
    subnet = IPv6Network((int(digits, 16) << 64, 64))
    require_free(subnet, uses)
    return subnet


def combine_subnets(
    networks: list[Network], gateways: list[Address], ranges: list[str]
) -> tuple[Subnet, ...]:
    """Return subnets with the gateways and the ranges that lie in them.

    Args:
        networks: the subnets.
        gateways: at most one in each.
        ranges: at most one in each: a subnet of it, or its first and last address with a dash.

    Raises:
        UsageError: one lies in none of them, or two in one.
    """
    stated_gateways: dict[Network, Address] = {}
    for gateway in gateways:
        _put(stated_gateways, _find_home(networks, gateway, "gateway"), gateway, "gateways")
    stated_ranges: dict[Network, tuple[Address, Address]] = {}
    for text in ranges:
        first, last = parse_ip_range(text)
        home = _find_home(networks, first, "range")
        if last not in home:
            raise UsageError(f"range {text} does not lie in subnet {home}")
        _put(stated_ranges, home, (first, last), "ranges")
    return tuple(
        Subnet(network, stated_gateways.get(network), *stated_ranges.get(network, (None, None)))
        for network in networks
    )


def parse_ip_range(text: str) -> tuple[Address, Address]:
    """Return the first and the last address of `10.1.0.128/25` or `10.1.0.100-10.1.0.199`.

    Raises:
        UsageError: it is neither.
    """
    try:
        if "-" in text:
            first, _, last = text.partition("-")
            return ip_address(first.strip()), ip_address(last.strip())
        network = ip_network(text)
    except ValueError as error:
        raise UsageError(
            f"{text} is no range of addresses: {error}", "write 10.1.0.128/25, or 10.1.0.100-10.1.0.199"
        ) from None
    return network[0], network[-1]


def _find_home(networks: list[Network], address: Address, what: str) -> Network:
    for network in networks:
        if address in network:
            return network
    if not networks:
        raise UsageError(f"a {what} needs its subnet", "add --subnet")
    listed = " or ".join(str(network) for network in networks)
    raise UsageError(f"{what} {address} does not lie in subnet {listed}")


def _put(homes: dict[Network, T], home: Network, value: T, what: str) -> None:
    if home in homes:
        raise UsageError(f"subnet {home} cannot have two {what}")
    homes[home] = value
