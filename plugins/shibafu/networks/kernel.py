"""What the kernel holds in the current network namespace: links, addresses, routes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from struct import Struct

from shibafu.netlink.address import addr_list
from shibafu.netlink.codec import parse_attrs
from shibafu.netlink.constants import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    IFF_LOWER_UP,
    IFF_POINTOPOINT,
    IFLA_STATS64,
    RT_TABLE_MAIN,
    RTA_GATEWAY,
    RTA_MULTIPATH,
    RTA_VIA,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTN_UNICAST,
    RTPROT_KERNEL,
)
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import IFINFOMSG, ifinfo, link_list, parse_link
from shibafu.netlink.link_requests import link_del, link_set
from shibafu.netlink.route import RTMSG, parse_kernel_route
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket
from shibafu.networks.errors import CommandError

Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

# No subnet is as wide as a route of a shorter prefix, the widest private ones being 10.0.0.0/8 and fd00::/8:
# it is a piece of a default route, as VPNs make them (0.0.0.0/1 and 128.0.0.0/1, 2000::/3).
_SHORTEST_PREFIX = 8
_STATS64 = Struct("=QQQQ")  # the beginning of rtnl_link_stats64 (linux/if_link.h)
_NEXT_HOP = Struct("=HBBi")  # rtnexthop (linux/rtnetlink.h): length, flags, weight, index
_PORT_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")


@dataclass(frozen=True)
class Traffic:
    """What a link has carried, in the direction that its own namespace sees."""

    rx_bytes: int
    rx_packets: int
    tx_bytes: int
    tx_packets: int


@dataclass(frozen=True)
class LinkState:
    """A link.

    Args:
        index: its number.
        name: its name.
        kind: `bridge`, `veth`, ...; empty for hardware.
        mac: its hardware address.
        mtu: in bytes.
        is_up: whether it was set up.
        has_carrier: whether it can carry anything.
        master: the number of the bridge that it is a port of; 0 for none.
        peer: the number of a veth's other end, in that one's namespace; 0 for none.
        port_state: what the bridge does with its frames; empty when it is not a port.
        is_hairpin: whether frames may go back to where they came from.
        is_isolated: whether it is kept from other isolated ports.
        group: the number of its group.
        traffic: its counters.
    """

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    is_up: bool
    has_carrier: bool
    master: int
    peer: int
    port_state: str
    is_hairpin: bool
    is_isolated: bool
    group: int
    traffic: Traffic

    @property
    def state(self) -> str:
        """The state in a word: up, down, or no carrier."""
        return "down" if not self.is_up else "up" if self.has_carrier else "no carrier"


@dataclass(frozen=True)
class RouteTo:
    """A destination and the link that leads there.

    Args:
        network: the destination.
        link: the link's name; empty for none.
        is_far: whether nobody there is a neighbour: it leads to a gateway, into a tunnel, or nowhere.
    """

    network: Network
    link: str
    is_far: bool


class Kernel:
    """The namespace that it was opened in.

    Args:
        sock: a socket there.
    """

    def __init__(self, sock: NetlinkSocket) -> None:
        self._sock = sock

    def links(self) -> dict[str, LinkState]:
        """Return all links by name."""
        # With their counters, unlike those that a plugin reads.
        entries = self._sock.dump(NetlinkRequest(RTM_GETLINK, 0, ifinfo(), "cannot list links"))
        return {link.name: link for link in map(_parse_link, entries)}

    def addresses(self) -> dict[int, list[Interface]]:
        """Return the addresses of each link, by its number, without link-local ones."""
        found: dict[int, list[Interface]] = {}
        for addr in addr_list(self._sock):
            if addr.family not in (AF_INET, AF_INET6):
                continue
            address = ip_interface(f"{ip_address(addr.ip)}/{addr.prefix}")
            if not address.is_link_local:
                found.setdefault(addr.index, []).append(address)
        return found

    def routes(self) -> list[RouteTo]:
        """Return the destinations of the main table, without default routes, whole or in pieces."""
        links = {link.index: (link.name, link.flags) for link in link_list(self._sock)}
        payload = RTMSG.pack(AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)
        entries = self._sock.dump(NetlinkRequest(RTM_GETROUTE, 0, payload, "cannot list routes"))
        routes = [route for entry in entries if (route := _parse_destination(entry, links)) is not None]
        return [
            route
            for route in routes
            if route.network.prefixlen >= _SHORTEST_PREFIX
            and not route.network.is_link_local
            and not route.network.is_multicast
        ]

    def remove_link(self, link: LinkState) -> None:
        """Remove a link; a veth's other end goes with it.

        Raises:
            CommandError: the kernel refuses.
        """
        try:
            self._sock.request(link_del(link.index))
        except NetlinkError as error:
            raise explain(error.errno, f"cannot remove {link.name}") from None

    def set_link_down(self, link: LinkState) -> None:
        """Set a link down.

        Raises:
            CommandError: the kernel refuses.
        """
        try:
            self._sock.request(link_set(link.index, up=False))
        except NetlinkError as error:
            raise explain(error.errno, f"cannot set {link.name} down") from None


@contextmanager
def open_kernel() -> Iterator[Kernel]:
    """Open the current namespace, and close it at the end."""
    with NetlinkSocket() as sock:
        yield Kernel(sock)


def explain(errno: int, what: str) -> CommandError:
    """Return what a refusal of the kernel's means.

    Args:
        errno: its number.
        what: what was asked for: "cannot create bridge br0".
    """
    return CommandError(f"{what}: {os.strerror(errno).lower()}", _EXPLANATIONS.get(errno, ""))


_EXPLANATIONS = {
    1: "changing links needs the capability CAP_NET_ADMIN: try it with sudo",
    16: "it is in use; see `ip -d link show`",
    17: "the name or the address is taken in this namespace; see `ip addr`",
    19: "there is no such link in this namespace; see `ip link`, or `ip -n NETNS link` elsewhere",
    22: "the kernel does not accept this value, or this kind of link does not support it",
    34: "a link's name has at most 15 characters, and other values have limits too",
    95: "this kernel was built without it, or this kind of link does not support it",
}


def _parse_destination(payload: bytes, links: dict[int, tuple[str, int]]) -> RouteTo | None:
    """Return where a route leads; None for a default route, and for one of another table."""
    route = parse_kernel_route(payload)
    if route.table != RT_TABLE_MAIN or route.dst is None or route.family not in (AF_INET, AF_INET6):
        return None
    attrs = parse_attrs(payload, RTMSG.size)
    hops = _parse_hops(attrs.get(RTA_MULTIPATH, b"")) or [(route.index, attrs)]
    name, flags = links.get(hops[0][0], ("", 0))
    # An address brings a route to its subnet, in which a tunnel may have neighbours, too.
    is_in_tunnel = bool(flags & IFF_POINTOPOINT) and route.protocol != RTPROT_KERNEL
    is_far = (
        route.type != RTN_UNICAST
        or is_in_tunnel
        or all(RTA_GATEWAY in attrs or RTA_VIA in attrs for _, attrs in hops)
    )
    return RouteTo(ip_network((route.dst, route.dst_prefix)), name, is_far)


def _parse_hops(data: bytes) -> list[tuple[int, dict[int, bytes]]]:
    """Return the link's number and the attributes of each next hop."""
    hops = []
    while len(data) >= _NEXT_HOP.size:
        length, _, _, index = _NEXT_HOP.unpack_from(data)
        hops.append((index, parse_attrs(data[_NEXT_HOP.size : length])))
        data = data[max(length + 3 & ~3, _NEXT_HOP.size) :]
    return hops


def _parse_link(payload: bytes) -> LinkState:
    link = parse_link(payload)
    stats = parse_attrs(payload, IFINFOMSG.size).get(IFLA_STATS64, bytes(_STATS64.size))
    rx_packets, tx_packets, rx_bytes, tx_bytes = _STATS64.unpack_from(stats)
    port = link.port
    return LinkState(
        index=link.index,
        name=link.name,
        kind=link.kind,
        mac=link.mac.hex(":"),
        mtu=link.mtu,
        is_up=link.up,
        has_carrier=bool(link.flags & IFF_LOWER_UP),
        master=link.master,
        peer=link.peer if link.kind == "veth" else 0,
        port_state=_PORT_STATES[port.state] if port is not None and port.state < len(_PORT_STATES) else "",
        is_hairpin=port is not None and port.hairpin,
        is_isolated=port is not None and port.isolated,
        group=link.group,
        traffic=Traffic(rx_bytes, rx_packets, tx_bytes, tx_packets),
    )
