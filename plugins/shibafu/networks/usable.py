"""Which subnets, gateways and ranges of addresses containers can use."""

from ipaddress import ip_network

from shibafu.cni.ip import Address as PlainAddress
from shibafu.cni.ip import parse_cidr
from shibafu.networks.errors import UsageError
from shibafu.networks.kernel import Network
from shibafu.networks.leases import count_usable
from shibafu.networks.spec import Address, Subnet
from shibafu_ipam.ranges import Range

# What no container can have (RFC 6890), or what would not get through a router.
_SPECIAL = {
    ip_network("0.0.0.0/8"): "which stand for no host",
    ip_network("127.0.0.0/8"): "which are loopback addresses",
    ip_network("169.254.0.0/16"): "which are link-local",
    ip_network("224.0.0.0/4"): "which are multicast addresses",
    ip_network("240.0.0.0/4"): "which are reserved",
    ip_network("::/96"): "which stand for no host or for the host itself",
    ip_network("::ffff:0:0/96"): "which stand for IPv4 addresses",
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
            f"subnet {network} has no room for a gateway and a container",
            f"choose a /{longest} or a wider one",
        )


def require_usable_gateway(network: Network, gateway: Address) -> None:
    """Refuse a gateway that no host of the subnet can be.

    Raises:
        UsageError: why, and what to change.
    """
    first, last = network[1], network[-2 if network.version == 4 else -1]
    choice = f"choose one of {first} to {last}"
    if gateway not in network:
        raise UsageError(f"gateway {gateway} does not lie in subnet {network}", choice)
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
                f"range {first}-{last} does not lie in subnet {network}",
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
            f"and nobody gets the first and the last address of subnet {network}",
            "make the range wider",
        )
