"""What a network must not have in common with its host, or with another network of that host."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from shibafu.netlink.address import addr_list
from shibafu.netlink.link import link_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.overlay.cluster_network import ClusterNetwork
from shibafu.overlay.errors import OverlayError

_HINT = "describe a network with addresses that nothing else has, such as 10.42.0.0/16"


def require_apart_from_links(
    sock: NetlinkSocket, network: ClusterNetwork, own: Iterable[IPv4Network | IPv6Network], index: int = 0
) -> None:
    """Refuse a network that contains an address of the host, which its routes would lead away.

    Args:
        sock: a socket of the host's namespace.
        network: the network.
        own: the host's parts of it, whose addresses its bridge and its devices have.
        index: the only link that matters; 0 for all.

    Raises:
        OverlayError: it does.
        NetlinkError: the addresses cannot be read.
    """
    parts = list(own)
    for addr in addr_list(sock, index or None):
        address = ip_address(addr.ip)
        if not any(address in part for part in parts):
            link = next((link.name for link in link_list(sock) if link.index == addr.index), "a link")
            _require_apart(network, address, f"an address of this host's {link}")


def require_apart_from_endpoints(network: ClusterNetwork, endpoints: Iterable[str]) -> None:
    """Refuse a network that contains the address of a member of etcd; names are not resolved.

    Raises:
        OverlayError: it does.
    """
    for endpoint in endpoints:
        try:
            address = ip_address(urlsplit(endpoint).hostname or "")
        except ValueError:
            continue
        _require_apart(network, address, "where etcd is")


def require_apart_from_network(network: ClusterNetwork, name: str, other: ClusterNetwork) -> None:
    """Refuse a network that has the VNI or addresses of another one of the host.

    Args:
        network: the network.
        name: the other one's.
        other: the other one.

    Raises:
        OverlayError: it does.
    """
    if network.vni == other.vni:
        raise OverlayError(f"network {name} of this host has VNI {other.vni}, too", "choose another --vni")
    for one in network.ranges:
        for two in other.ranges:
            if one.network.version == two.network.version and one.network.overlaps(two.network):
                raise OverlayError(
                    f"{one.network} overlaps {two.network} of network {name} of this host", _HINT
                )


def _require_apart(network: ClusterNetwork, address: IPv4Address | IPv6Address, what: str) -> None:
    for subnets in network.ranges:
        if address in subnets.network:
            raise OverlayError(f"{subnets.network} contains {address}, {what}", _HINT)
