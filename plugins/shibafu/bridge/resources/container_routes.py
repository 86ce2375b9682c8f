"""Routes in a container's namespace, compared with those of the result and of the interface's addresses."""

from errno import ESRCH

from shibafu.bridge.resources.fabric import ensure_own_routes
from shibafu.cni.result import Route
from shibafu.lean.ip import Cidr
from shibafu.netlink.constants import RT_TABLE_MAIN, RTN_UNICAST
from shibafu.netlink.link import Link
from shibafu.netlink.route import route_del, route_list
from shibafu.resource.base import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.netlink.route import Route as KernelRoute
    from shibafu.resource.view import View


def find_route_faults(inside: "View", link: Link, wanted: Route) -> list[Fault]:
    """Return what is wrong with a route of the result."""
    family, table = wanted.dst.network.address.family, wanted.table or RT_TABLE_MAIN
    found = _select_routes(_list_routes(inside, family, table), wanted.dst)
    if not found:
        found = _select_routes(_list_own_routes(inside, link, family), wanted.dst)
    if not found:
        return [Fault(f"route to {wanted.dst} is missing in the container")]
    if all(leads_elsewhere(present, wanted) for present in found):
        return [Fault(f"route to {wanted.dst} does not lead to {wanted.gw} in the container")]
    return []


def find_lost_subnets(inside: "View", link: Link, addresses: list[Cidr]) -> list[Cidr]:
    """Return a link's addresses without the route to their subnet that the kernel makes with them.

    It makes them while the link is up (fib_add_ifaddr in net/ipv4/fib_frontend.c).
    """
    present = inside.addresses(link)
    lost: dict[Cidr, Cidr] = {}
    for address in addresses if link.up else []:
        has_subnet = 0 < address.prefix < address.address.bits
        if has_subnet and (address.address.packed, address.prefix) in present:
            family = address.address.family
            # Mostly it is in the main table, which is read anyway for the routes of the result.
            found = _select_routes(_list_routes(inside, family, RT_TABLE_MAIN), address)
            if not any(route.index == link.index for route in found):
                found = _select_routes(_list_own_routes(inside, link, family), address)
            if not found:
                lost.setdefault(address.network, address)
    return list(lost.values())


def _list_routes(inside: "View", family: int, table: int) -> "list[KernelRoute]":
    return inside.once(("routes", family, table), lambda: route_list(inside.sock, None, family, table))


def ensure_subnets(inside: "View", link: Link, addresses: list[Cidr]) -> None:
    """Restore the routes that `find_lost_subnets` returns.

    Raises:
        NetlinkError: the kernel refuses.
    """
    ensure_own_routes(inside.sock, link, find_lost_subnets(inside, link, addresses))


def _list_own_routes(inside: "View", link: Link, family: int) -> "list[KernelRoute]":
    """Return a link's routes in all tables: a later plugin, such as sbr, may have moved them to another."""
    return inside.once(
        ("routes of", link.index, family), lambda: route_list(inside.sock, link.index, family, None)
    )


def _select_routes(routes: "list[KernelRoute]", wanted: Cidr) -> "list[KernelRoute]":
    """Return the routes that have a destination."""
    destination = wanted.network
    return [
        present
        for present in routes
        if present.type == RTN_UNICAST
        and present.dst_prefix == destination.prefix
        and (present.dst or bytes(len(destination.address.packed))) == destination.address.packed
    ]


def leads_elsewhere(present: "KernelRoute", wanted: Route) -> bool:
    """Return whether a route does not lead to the gateway that is stated, if one is."""
    gateway = wanted.gw.packed if wanted.gw is not None else b""
    # Of a route with several next hops, which has no link of its own, they are not known.
    return any(gateway) and present.index != 0 and present.gateway != gateway


def delete_other_routes(inside: "View", link: Link, routes: list[Route]) -> None:
    """Delete the link's routes to destinations if none leads to the gateway that is stated.

    In IPv6 they would be used in addition to the one that is added.

    Raises:
        NetlinkError: the kernel refuses.
    """
    for wanted in routes:
        family, table = wanted.dst.network.address.family, wanted.table or RT_TABLE_MAIN
        found = _select_routes(route_list(inside.sock, link.index, family, table), wanted.dst)
        if all(leads_elsewhere(present, wanted) for present in found):
            inside.sock.request_all(
                [
                    route_del(
                        link.index,
                        present.dst,
                        present.dst_prefix,
                        present.gateway,
                        family=family,
                        priority=present.priority,
                        table=table,
                    ).ignoring(ESRCH)
                    for present in found
                ]
            )
