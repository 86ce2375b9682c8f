"""What the kernel holds in the current network namespace: links, addresses, routes, by pyroute2."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface, ip_network
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import rt_proto, rt_type
from pyroute2.netlink.rtnl.ifinfmsg import IFF_LOWER_UP, IFF_POINTOPOINT, IFF_UP

from shibafu.networks.errors import CommandError

Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

_PORT = ("linkinfo", "slave_data")
_MAIN_TABLE = 254  # RT_TABLE_MAIN (linux/rtnetlink.h)
_UNICAST, _BY_KERNEL = rt_type["unicast"], rt_proto["kernel"]
# No subnet is as wide as a route of a shorter prefix, the widest private ones being 10.0.0.0/8 and fd00::/8:
# it is a piece of a default route, as VPNs make them (0.0.0.0/1 and 128.0.0.0/1, 2000::/3).
_SHORTEST_PREFIX = 8
_PORT_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")


@dataclass(frozen=True)
class Traffic:
    """What a link has carried, in the direction that its own namespace sees."""

    rx_bytes: int
    rx_packets: int
    tx_bytes: int
    tx_packets: int


@dataclass(frozen=True)
class Link:
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
        iproute: a socket there.
    """

    def __init__(self, iproute: IPRoute) -> None:
        self._iproute = iproute

    def links(self) -> dict[str, Link]:
        """Return all links by name."""
        return {link.name: link for link in map(_parse_link, self._iproute.get_links())}

    def addresses(self) -> dict[int, list[Interface]]:
        """Return the addresses of each link, by its number, without link-local ones."""
        found: dict[int, list[Interface]] = {}
        for message in self._iproute.get_addr():
            address = ip_interface(f"{message.get('local') or message.get('address')}/{message['prefixlen']}")
            if not address.is_link_local:
                found.setdefault(message["index"], []).append(address)
        return found

    def routes(self) -> list[RouteTo]:
        """Return the destinations of the main table, without default routes, whole or in pieces."""
        links = {link["index"]: link for link in self._iproute.get_links()}
        # The kernel's dump has all of a family's tables unless it filters strictly.
        messages = [m for m in self._iproute.get_routes(table=_MAIN_TABLE) if m.get("table") == _MAIN_TABLE]
        routes = [_parse_route(message, links) for message in messages if message["dst_len"]]
        return [
            route
            for route in routes
            if route.network.prefixlen >= _SHORTEST_PREFIX
            and not route.network.is_link_local
            and not route.network.is_multicast
        ]

    def link_request(self, command: str, what: str, **attributes: object) -> None:
        """Change a link; attributes as in `IPRoute.link`.

        Raises:
            CommandError: the kernel refuses.
        """
        self._request(what, lambda: self._iproute.link(command, **attributes))

    def address_request(self, command: str, what: str, index: int, address: Interface) -> None:
        """Add an address to a link or remove it.

        Raises:
            CommandError: the kernel refuses.
        """
        self._request(
            what,
            lambda: self._iproute.addr(
                command, index=index, address=str(address.ip), prefixlen=address.network.prefixlen
            ),
        )

    @staticmethod
    def _request(what: str, do: Callable[[], object]) -> None:
        try:
            do()
        except NetlinkError as error:
            raise explain(error.code, what) from None


@contextmanager
def open_kernel() -> Iterator[Kernel]:
    """Open the current namespace, and close it at the end."""
    with IPRoute() as iproute:
        yield Kernel(iproute)


def explain(errno: int, what: str) -> CommandError:
    """Return what a refusal of the kernel's means.

    Args:
        errno: its number.
        what: what was asked for: "cannot create bridge br0".
    """
    return CommandError(f"{what}: {os.strerror(errno).lower()}", _EXPLANATIONS.get(errno, ""))


_EXPLANATIONS = {
    1: "changing links takes the capability CAP_NET_ADMIN: try it with sudo",
    16: "something uses it at this moment; see `ip -d link show`",
    17: "the name or the address is taken in this namespace; see `ip addr`",
    19: "there is no such link in this namespace; see `ip link`, and `ip -n NETNS link` for another one",
    22: "the kernel takes no such value, or this kind of link cannot do that",
    34: "a link's name has at most 15 characters, and other values have limits too",
    95: "this kernel was built without it, or this kind of link cannot do that",
}


def _parse_route(message: Any, links: dict[int, Any]) -> RouteTo:
    hops = message.get("multipath") or [message]
    link = links.get(hops[0].get("oif") or 0)
    # An address brings a route to its subnet, in which a tunnel may have neighbours, too.
    is_in_tunnel = link is not None and link["flags"] & IFF_POINTOPOINT and message["proto"] != _BY_KERNEL
    is_far = (
        message["type"] != _UNICAST
        or bool(is_in_tunnel)
        or all(hop.get("gateway") or hop.get("via") for hop in hops)
    )
    network = ip_network(f"{message.get('dst')}/{message['dst_len']}")
    return RouteTo(network, link.get("ifname") if link is not None else "", is_far)


def _parse_link(message: Any) -> Link:
    stats = message.get("stats64") or {}
    kind = message.get(("linkinfo", "kind")) or ""
    port = message.get(_PORT) if message.get("master") else None
    state = port.get("IFLA_BRPORT_STATE") if port else None
    return Link(
        index=message["index"],
        name=message.get("ifname"),
        kind=kind,
        mac=message.get("address") or "",
        mtu=message.get("mtu") or 0,
        is_up=bool(message["flags"] & IFF_UP),
        has_carrier=bool(message["flags"] & IFF_LOWER_UP),
        master=message.get("master") or 0,
        peer=(message.get("link") or 0) if kind == "veth" else 0,
        port_state=_PORT_STATES[state] if state is not None and state < len(_PORT_STATES) else "",
        is_hairpin=bool(port and port.get("IFLA_BRPORT_MODE")),
        is_isolated=bool(port and port.get("IFLA_BRPORT_ISOLATED")),
        group=message.get("group") or 0,
        traffic=Traffic(
            stats.get("rx_bytes", 0),
            stats.get("rx_packets", 0),
            stats.get("tx_bytes", 0),
            stats.get("tx_packets", 0),
        ),
    )
