"""The default routes of a container that is on several networks: the one with the lowest metric counts.

Left to itself the kernel prefers the route that was added last in IPv4, and in IPv6 spreads packets over all
of them. So each gets a metric of its own, whatever the order in which a runtime attaches the networks:

- what is stated: by IPAM's `priority` of the route, or by the network's `metric`
- the kernel's choice, 0 in IPv4 and 1024 in IPv6, for eth0, and for names that have no number while no other
  network has a default route
- otherwise 1024 and the number in the interface's name: eth1 comes before eth2

or the next one that no other route has. An interface that accepts router advertisements gets default routes
of them with its metric, too. Routes with the kernel's choice give way to that of eth0, and to one whose
network states a lower metric than 1024.
"""

from _socket import AF_INET

from shibafu.bridge.resources.container_routes import leads_elsewhere
from shibafu.bridge.resources.interface import FIRST_NAME
from shibafu.netlink.constants import RTN_UNICAST
from shibafu.netlink.route import route_add_like, route_del_like, route_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.result import Route
    from shibafu.netlink.link import Link
    from shibafu.netlink.route import Route as KernelRoute
    from shibafu.resource.view import View

_DEFAULT_METRIC = 1024  # IP6_RT_PRIO_USER in linux/ipv6_route.h
_MAX_METRIC = 2**32 - 1  # of RTA_PRIORITY, rtnetlink(7)
_NUMBERED = "eth"
_MAX_DIGITS = 5


def rank_default_routes(inside: "View", link: "Link", routes: "list[Route]", metric: int) -> None:
    """Set the priority of those routes that are default routes of the main table.

    One that the interface has already keeps its metric.

    Args:
        inside: the container's namespace.
        link: the container's interface.
        routes: the routes that its network gives it.
        metric: what the network's configuration states; 0 for nothing.

    Raises:
        NetlinkError: the kernel refuses.
    """
    for route in routes:
        if route.is_default:
            _rank(inside, link, route, metric)


def _rank(inside: "View", link: "Link", route: "Route", metric: int) -> None:
    family = route.dst.network.address.family
    present = [
        found
        for found in route_list(inside.sock, None, family)
        if found.dst_prefix == 0 and found.type == RTN_UNICAST
    ]
    own = [found for found in present if found.index == link.index and not leads_elsewhere(found, route)]
    if own:
        route.priority = own[0].priority
        return
    others = [found for found in present if found.index != link.index]
    taken = {other.priority for other in others}
    unstated = 0 if family == AF_INET else _DEFAULT_METRIC
    chosen = _choose_metric(link.name, route.priority or metric, unstated, taken)
    taken.add(chosen)
    if chosen != unstated:
        route.priority = chosen
    if chosen == unstated or unstated < metric < _DEFAULT_METRIC:
        for other in others:
            # Of a route with several next hops, which has no link of its own, they are not known.
            if other.priority == unstated and other.index:
                later = _find_free(_DEFAULT_METRIC, taken)
                taken.add(later)
                _change_metric(inside, other, later)


def _choose_metric(ifname: str, stated: int, unstated: int, taken: set[int]) -> int:
    """Return the metric of an interface's default route.

    Args:
        ifname: the interface.
        stated: what is stated for it; 0 for nothing.
        unstated: the kernel's choice.
        taken: those of other interfaces.
    """
    if stated:
        return _find_free(stated, taken)
    usual = calc_usual_metric(ifname)
    is_after_stated = any(0 < metric < _DEFAULT_METRIC for metric in taken)
    if (usual == _DEFAULT_METRIC and not taken) or (ifname == FIRST_NAME and not is_after_stated):
        return unstated
    return _find_free(usual, taken)


def calc_usual_metric(ifname: str) -> int:
    """Return the metric of an interface's IPv6 default routes where none is stated, nor taken."""
    return _DEFAULT_METRIC + _find_number(ifname)


def _find_number(ifname: str) -> int:
    """Return the number of an interface named as runtimes name a container's, such as eth1; else 0."""
    digits = ifname.removeprefix(_NUMBERED)
    is_numbered = ifname.startswith(_NUMBERED) and digits.isascii() and digits.isdecimal()
    return int(digits) if is_numbered and len(digits) <= _MAX_DIGITS else 0


def _find_free(metric: int, taken: set[int]) -> int:
    while metric in taken and metric < _MAX_METRIC:
        metric += 1
    return metric


def _change_metric(inside: "View", route: "KernelRoute", metric: int) -> None:
    """Give another interface's route a higher metric: no other can be lower than the kernel's 0."""
    inside.sock.request_all([route_add_like(route, priority=metric), route_del_like(route)])
