"""Default routes of a host: the watcher's own, by their protocol, and those of others."""

from shibafu.netlink.address import addr_list
from shibafu.netlink.constants import IFF_NOARP, IFF_UP, RT_SCOPE_LINK, RTN_UNICAST
from shibafu.netlink.inet import ip_text
from shibafu.netlink.link import Link
from shibafu.netlink.route import Route, route_add, route_del, route_list
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket
from shibafu.watch.routers.router_settings import RouterSettings

# Who made a route. Beyond RTPROT_STATIC the numbers are for programs to agree on; nobody has this one
# (linux/rtnetlink.h, iproute2's rt_protos).
RTPROT_SHIBAFU = 115

_ETHERNET = 6
_LINK_LOCAL = b"\xfe\x80"
# What iproute2 calls others' protocols.
_PROTOCOLS = {2: "kernel", 3: "boot", 4: "static", 9: "ra", 16: "dhcp"}


class DefaultRoutes:
    """The default routes of one family.

    Args:
        sock: a socket of the namespace.
        family: AF_INET or AF_INET6.

    Attributes:
        own: those that this program has made.
        others: those of anybody else.
    """

    def __init__(self, sock: NetlinkSocket, family: int) -> None:
        routes = [
            route
            for route in route_list(sock, family=family)
            if not route.dst_prefix and route.type == RTN_UNICAST
        ]
        self.own = [route for route in routes if route.protocol == RTPROT_SHIBAFU]
        self.others = [route for route in routes if route.protocol != RTPROT_SHIBAFU]

    def list_own(self, settings: RouterSettings, link: Link | None) -> list[Route]:
        """Return the own ones to a router, the best first; there are two while its metric changes."""
        index = link.index if link is not None else 0
        found = [route for route in self.own if (route.gateway, route.index) == (settings.gateway, index)]
        return sorted(found, key=lambda route: route.priority)

    def find_better(self, priority: int) -> Route | None:
        """Return the best of the others', if it is better than a metric."""
        best = min(self.others, key=lambda route: route.priority, default=None)
        return best if best is not None and best.priority < priority else None


def make_default_route(
    settings: RouterSettings, link: Link, metric: int, replaces: bool = False
) -> NetlinkRequest:
    """Request a route to a router.

    Args:
        settings: which router.
        link: that it is on.
        metric: of the route.
        replaces: whether a route with this metric goes in the same moment, so that there is never none;
            otherwise it is refused if there is one.
    """
    return route_add(
        link.index, gateway=settings.gateway, priority=metric, protocol=RTPROT_SHIBAFU, replace=replaces
    )


def remove_default_route(route: Route) -> NetlinkRequest:
    """Request that an own route be deleted."""
    return route_del(route.index, gateway=route.gateway, priority=route.priority, protocol=RTPROT_SHIBAFU)


def find_route_obstacle(sock: NetlinkSocket, settings: RouterSettings, link: Link | None) -> str:
    """Return why there can be no route to a router, in words; empty if there can."""
    dev, gateway = settings.dev, ip_text(settings.gateway)
    if link is None:
        return f"there is no link {dev}"
    if not link.flags & IFF_UP:
        return f"link {dev} is down: set it up with `ip link set {dev} up`"
    if link.flags & IFF_NOARP or len(link.mac) != _ETHERNET:
        return f"link {dev} is not an Ethernet link, so {gateway} cannot be asked whether it lives"
    if any(one.ip == settings.gateway for one in addr_list(sock, family=settings.family)):
        return f"{gateway} is an address of this host itself: name one of a router"
    if settings.gateway.startswith(_LINK_LOCAL):
        return ""
    routes = route_list(sock, link.index, settings.family)
    if not any(_contains(route, settings.gateway) for route in routes):
        return f"{gateway} is in no subnet of link {dev}: correct it, or give {dev} an address"
    return ""


def describe_route(route: Route) -> str:
    """Name somebody's default route, such as `via 192.0.2.1, metric 100, proto dhcp`."""
    via = f"via {ip_text(route.gateway)}, " if route.gateway is not None else ""
    proto = _PROTOCOLS.get(route.protocol, str(route.protocol))
    return f"{via}metric {route.priority}, proto {proto}"


def _contains(route: Route, address: bytes) -> bool:
    """Return whether a route says that an address is on its link."""
    if route.dst is None or route.gateway is not None or route.type != RTN_UNICAST:
        return False
    # Those of IPv6 have the scope of the universe.
    if len(address) == 4 and route.scope != RT_SCOPE_LINK:
        return False
    host_bits = len(address) * 8 - route.dst_prefix
    return int.from_bytes(route.dst, "big") >> host_bits == int.from_bytes(address, "big") >> host_bits
