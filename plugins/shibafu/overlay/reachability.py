"""Which hosts of a network can be reached from this one, as its containers would reach theirs."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from shibafu.netlink.constants import AF_INET, AF_INET6
from shibafu.netlink.route import route_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.overlay.probing import probe_addresses
from shibafu.overlay.subnet_leases import VXLAN, SubnetLease


@dataclass(frozen=True)
class Reach:
    """Whether a host answers through the overlay.

    Args:
        ipv4: at its IPv4 subnet.
        ipv6: at its IPv6 subnet; None if it has none.
    """

    ipv4: bool
    ipv6: bool | None


def find_reachable(leases: Iterable[SubnetLease], own: SubnetLease | None) -> dict[IPv4Network, Reach]:
    """Return whether hosts answer through the overlay, by their IPv4 subnets.

    Each one's devices have the first addresses of its subnets, and are asked by these, all at once: packets
    of either family have a VXLAN of their own, over IPv4 and over IPv6. Where the kernel has no route to just
    that subnet it is not asked: the packet would leave by the default route.

    Args:
        leases: of all hosts.
        own: what this host has; None if it has not joined, so that it can reach nobody.

    Raises:
        PermissionError: the process lacks CAP_NET_RAW.
    """
    if own is None:
        return {}
    with NetlinkSocket() as sock:
        routes = {
            (route.dst, route.dst_prefix)
            for family in (AF_INET, AF_INET6)
            for route in route_list(sock, family=family)
        }
    others = [lease for lease in leases if lease.backend == VXLAN and lease.subnet != own.subnet]
    answered = probe_addresses(
        str(subnet.network_address)
        for lease in others
        for subnet in (lease.subnet, lease.subnet6)
        if subnet is not None and (subnet.network_address.packed, subnet.prefixlen) in routes
    )

    def reaches(subnet: IPv4Network | IPv6Network) -> bool:
        return str(subnet.network_address) in answered

    # This host may have no IPv6 in the network, although another one has.
    has_ipv6 = own.subnet6 is not None
    return {
        lease.subnet: Reach(
            reaches(lease.subnet),
            reaches(lease.subnet6) if has_ipv6 and lease.subnet6 is not None else None,
        )
        for lease in others
    }
