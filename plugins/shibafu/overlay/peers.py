"""Which entries a host of the network is reached by."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from shibafu.netlink.route import route_get
from shibafu.netlink.socket import NetlinkSocket
from shibafu.overlay.cluster_network import ClusterNetwork
from shibafu.overlay.outer_link import OuterLink
from shibafu.overlay.peer_entries import Entry, FdbEntry, NeighbourEntry, RouteEntry
from shibafu.overlay.subnet_leases import SubnetLease


@dataclass(frozen=True)
class PeerRules:
    """What the entries of all hosts depend on.

    Args:
        sock: a socket of the host's namespace.
        network: the network.
        own: what this host has.
        outer: the link to the others.
        devices: indexes of the VXLAN devices, by version of IP.
    """

    sock: NetlinkSocket
    network: ClusterNetwork
    own: SubnetLease
    outer: OuterLink
    devices: Mapping[int, int]


def calc_peer_entries(rules: PeerRules, lease: SubnetLease) -> list[Entry]:
    """Return the entries for one host; none for this one, and for what is outside of the network."""
    entries: list[Entry] = []
    network, own = rules.network, rules.own
    if lease.public_ip == own.public_ip:
        return entries
    families = (
        (4, lease.subnet, lease.public_ip, lease.vtep, network.subnets, own.subnet),
        (6, lease.subnet6, lease.public_ip6, lease.vtep6, network.subnets6, own.subnet6),
    )
    for version, subnet, public, vtep, whole, own_subnet in families:
        device = rules.devices.get(version)
        if device is None or subnet is None or public is None or vtep is None or whole is None:
            continue
        is_inside = _contains(whole.network, subnet)
        # Packets to this host's own containers stay here.
        if not is_inside or own_subnet is None or _overlaps(own_subnet, subnet):
            continue
        gateway = subnet.network_address.packed
        if network.direct_routing and _is_direct(rules, public.packed):
            entries.append(RouteEntry(rules.outer.index, gateway, subnet.prefixlen, public.packed, True))
            continue
        entries += [
            FdbEntry(device, vtep.mac, public.packed),
            NeighbourEntry(device, gateway, vtep.mac),
            RouteEntry(device, gateway, subnet.prefixlen, gateway),
        ]
    return entries


def _is_direct(rules: PeerRules, address: bytes) -> bool:
    """Return whether a host is on the same link as this one, with no router in between."""
    route = route_get(rules.sock, address)
    return route is not None and route.gateway is None and route.index == rules.outer.index


def _contains(whole: IPv4Network | IPv6Network, part: IPv4Network | IPv6Network) -> bool:
    first, last = int(part.network_address), int(part.broadcast_address)
    return int(whole.network_address) <= first and last <= int(whole.broadcast_address)


def _overlaps(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return int(one.network_address) <= int(other.broadcast_address) and int(other.network_address) <= int(
        one.broadcast_address
    )
