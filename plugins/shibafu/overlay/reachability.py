"""Which hosts of a network can be reached from this one, as its containers would reach theirs."""

from collections.abc import Iterable
from ipaddress import IPv4Network

from shibafu.netlink.constants import AF_INET
from shibafu.netlink.route import route_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.overlay.probing import probe_addresses
from shibafu.overlay.subnet_leases import VXLAN, SubnetLease


def find_reachable(leases: Iterable[SubnetLease], own: SubnetLease | None) -> dict[IPv4Network, bool]:
    """Return whether hosts answer through the overlay, by their subnets.

    Each one's device has the first address of its subnet, and is asked by that, all at once. Where the kernel
    has no route to just that subnet it is not asked: the packet would leave by the default route.

    Args:
        leases: of all hosts.
        own: what this host has; None if it has not joined, so that it can reach nobody.

    Raises:
        PermissionError: the process lacks CAP_NET_RAW.
    """
    if own is None:
        return {}
    with NetlinkSocket() as sock:
        routes = {(route.dst, route.dst_prefix) for route in route_list(sock, family=AF_INET)}
    others = [lease.subnet for lease in leases if lease.backend == VXLAN and lease.subnet != own.subnet]
    answered = probe_addresses(
        str(subnet.network_address)
        for subnet in others
        if (subnet.network_address.packed, subnet.prefixlen) in routes
    )
    return {subnet: str(subnet.network_address) in answered for subnet in others}
