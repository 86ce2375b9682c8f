"""Choosing subnets: which are in use on this machine, and which is free."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_address, ip_interface, ip_network
from typing import TypeVar

from shibafu.cni.names import calc_digest
from shibafu.lean.ip import Address as PlainAddress
from shibafu.lean.ip import parse_cidr
from shibafu.networks.errors import CommandError, UsageError
from shibafu.networks.kernel import Network
from shibafu.networks.leases import count_usable
from shibafu.networks.spec import Address, Subnet
from shibafu_ipam.ranges import Range

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
        is_far: whether nobody of it is a neighbour: a narrower subnet on this machine takes precedence there.
    """

    network: Network
    what: str
    is_far: bool = False

    def overlaps(self, network: Network) -> bool:
        """Return whether a subnet has an address in common with it."""
        return self.network.version == network.version and self.network.overlaps(network)

    def yields_to(self, network: Network) -> bool:
        """Return whether a subnet in it can be used all the same."""
        return self.is_far and self.network.prefixlen < network.prefixlen


def find_overlap(network: Network, uses: list[Use]) -> Use | None:
    """Return what a subnet conflicts with."""
    return next((use for use in uses if use.overlaps(network) and not use.yields_to(network)), None)


def find_supernet(network: Network, uses: list[Use]) -> Use | None:
    """Return what a subnet is a part of that can be used all the same."""
    return next((use for use in uses if use.overlaps(network) and use.yields_to(network)), None)


def require_free(network: Network, uses: list[Use], hint: str = "omit it to have a free one chosen") -> None:
    """Refuse a subnet that is in use.

    Raises:
        CommandError: by what; `hint` says what to do.
    """
    use = find_overlap(network, uses)
    if use is not None:
        raise CommandError(f"subnet {network} overlaps with {use.what}", hint)


def parse_subnet(text: str) -> Network:
    """Return a subnet.

    Raises:
        ValueError: what is wrong and what to write, in a sentence.
    """
    try:
        interface = ip_interface(text)
    except ValueError:
        raise ValueError(f'"{text}" is not a subnet: write one such as 10.1.0.0/24') from None
    if "/" not in text:
        length = 24 if interface.version == 4 else 64
        raise ValueError(f"{text} is an address, not a subnet: write {text}/{length} or the like")
    if interface.ip != interface.network.network_address:
        raise ValueError(f"{text} is an address in a subnet: write {interface.network}")
    return interface.network


def choose_subnet(uses: list[Use], is_default: bool = False) -> Network:
    """Return a free IPv4 subnet of 256 addresses.

    Args:
        uses: what is in use. What lies far away is kept clear of, too, as long as anything else is left.
        is_default: whether it is for the network that everybody has, for which one is kept.

    Raises:
        CommandError: all are in use.
    """
    preferred = [DEFAULT_SUBNET] if is_default else []
    candidates = [*preferred, *(candidate for candidate in _candidates() if candidate != DEFAULT_SUBNET)]
    for find in (_find_any, find_overlap):
        for candidate in candidates:
            if find(candidate, uses) is None:
                return candidate
    pools = " and ".join(str(pool) for pool in _POOLS)
    raise CommandError(f"no subnet of {pools} is free", "specify one that is")


def _find_any(network: Network, uses: list[Use]) -> Use | None:
    return next((use for use in uses if use.overlaps(network)), None)


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
    require_free(subnet, uses, "specify another one")
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
        UsageError: one lies in none of them, or two in one, or containers cannot use it.
    """
    stated_gateways: dict[Network, Address] = {}
    for gateway in gateways:
        _put(stated_gateways, _find_home(networks, gateway, "gateway"), gateway, "gateways")
    stated_ranges: dict[Network, tuple[Address, Address]] = {}
    for text in ranges:
        first, last = parse_ip_range(text)
        home = _find_home(networks, first, "range", text)
        _put(stated_ranges, home, (first, last), "ranges")
    subnets = tuple(
        Subnet(network, stated_gateways.get(network), *stated_ranges.get(network, (None, None)))
        for network in networks
    )
    for subnet in subnets:
        require_usable(subnet)
    return subnets


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
            f"{text} is not a range of addresses: {error}", "write 10.1.0.128/25, or 10.1.0.100-10.1.0.199"
        ) from None
    return network[0], network[-1]


def _find_home(networks: list[Network], address: Address, what: str, text: str = "") -> Network:
    for network in networks:
        if address in network:
            return network
    if not networks:
        raise UsageError(f"a {what} needs its subnet", "add --subnet")
    listed = " or ".join(str(network) for network in networks)
    raise UsageError(
        f"{what} {text or address} is not in subnet {listed}",
        f"choose a {what} of the subnet, or add its own: --subnet",
    )


def _put(homes: dict[Network, T], home: Network, value: T, what: str) -> None:
    if home in homes:
        raise UsageError(f"subnet {home} cannot have two {what}", "specify only one of them")
    homes[home] = value


# What no container can have (RFC 6890), or what would not get through a router.
_SPECIAL = {
    ip_network("0.0.0.0/8"): "which mean no host",
    ip_network("127.0.0.0/8"): "which are loopback addresses",
    ip_network("169.254.0.0/16"): "which are link-local",
    ip_network("224.0.0.0/4"): "which are multicast addresses",
    ip_network("240.0.0.0/4"): "which are reserved",
    ip_network("::/96"): "which mean no host or the host itself",
    ip_network("::ffff:0:0/96"): "which are mapped to IPv4 addresses",
    ip_network("fe80::/10"): "which are link-local",
    ip_network("ff00::/8"): "which are multicast addresses",
}
_CHOICES = {
    4: "choose a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
    6: "choose a part of fd00::/8, such as fd12:3456:789a::/64",
}


def require_usable(subnet: Subnet) -> None:
    """Refuse a subnet that containers cannot use as it is stated.

    Raises:
        UsageError: why, and what to change.
    """
    require_usable_network(subnet.network)
    if subnet.gateway is not None:
        require_usable_gateway(subnet.network, subnet.gateway)
    if subnet.first is not None and subnet.last is not None:
        require_usable_range(subnet.network, subnet.gateway, subnet.first, subnet.last)


def require_usable_network(network: Network) -> None:
    """Refuse a subnet of addresses that do not work, or of too few.

    Raises:
        UsageError: why, and what to change.
    """
    for special, what in _SPECIAL.items():
        if special.version == network.version and special.overlaps(network):
            raise UsageError(
                f"subnet {network} has addresses of {special}, {what}", _CHOICES[network.version]
            )
    longest = network.max_prefixlen - 2
    if network.prefixlen > longest:
        raise UsageError(
            f"subnet {network} is too small for a gateway and a container",
            f"choose a /{longest} or larger",
        )


def require_usable_gateway(network: Network, gateway: Address) -> None:
    """Refuse a gateway that no host of the subnet can be.

    Raises:
        UsageError: why, and what to change.
    """
    first, last = network[1], network[-2 if network.version == 4 else -1]
    choice = f"choose one of {first} to {last}"
    if gateway not in network:
        raise UsageError(f"gateway {gateway} is not in subnet {network}", choice)
    if not first <= gateway <= last:  # type: ignore[operator]  # they are of one family
        edge = "network" if gateway == network[0] else "broadcast"
        raise UsageError(f"gateway {gateway} is the {edge} address of subnet {network}", choice)


def require_usable_range(network: Network, gateway: Address | None, first: Address, last: Address) -> None:
    """Refuse a range that no container gets an address of.

    Args:
        network: the subnet.
        gateway: its gateway; None for the default one.
        first: the lowest address.
        last: the highest.

    Raises:
        UsageError: why, and what to change.
    """
    for bound in (first, last):
        if bound not in network:
            raise UsageError(
                f"range {first}-{last} is not in subnet {network}",
                f"choose a part of {network[0]} to {network[-1]}",
            )
    if int(last) < int(first):
        raise UsageError(f"range {first}-{last} ends before it starts", f"write {last}-{first}")
    gateway = gateway or network[1]
    addresses = Range(
        parse_cidr(str(network)), int(first), int(last), PlainAddress(network.version, int(gateway))
    )
    if not count_usable(addresses):
        raise UsageError(
            f"range {first}-{last} has no address for a container: the gateway is {gateway}, "
            f"and the first and last address of subnet {network} are not given out",
            "make the range larger",
        )
