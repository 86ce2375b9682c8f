"""Routes in a container's namespace, compared with those of the result."""

from errno import ESRCH

from shibafu.cni.result import Route
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
    stated = inside.once(("routes", family, table), lambda: route_list(inside.sock, None, family, table))
    found = _select_routes(stated, wanted)
    if not found:
        # A later plugin of the chain, such as sbr, may have moved it to another table.
        others = inside.once(
            ("routes of", link.index, family), lambda: route_list(inside.sock, link.index, family, None)
        )
        found = _select_routes(others, wanted)
    if not found:
        return [Fault(f"route to {wanted.dst} is missing in the container")]
    if all(_has_other_gateway(present, wanted) for present in found):
        return [Fault(f"route to {wanted.dst} does not lead to {wanted.gw} in the container")]
    return []


def _select_routes(routes: "list[KernelRoute]", wanted: Route) -> "list[KernelRoute]":
    """Return the routes that have a destination."""
    destination = wanted.dst.network
    return [
        present
        for present in routes
        if present.type == RTN_UNICAST
        and present.dst_prefix == destination.prefix
        and (present.dst or bytes(len(destination.address.packed))) == destination.address.packed
    ]


def _has_other_gateway(present: "KernelRoute", wanted: Route) -> bool:
    """Return whether a route does not lead to the gateway that is stated, if one is."""
    gateway = wanted.gw.packed if wanted.gw is not None else b""
    # Of a route with several next hops, which has no link of its own, they are not known.
    return any(gateway) and present.index != 0 and present.gateway != gateway


def delete_other_routes(inside: "View", link: Link, routes: list[Route]) -> None:
    """Delete the link's routes to destinations if none leads to the gateway that is stated.

    In IPv6 they would be used beside the one that is added.

    Raises:
        NetlinkError: the kernel refuses.
    """
    for wanted in routes:
        family, table = wanted.dst.network.address.family, wanted.table or RT_TABLE_MAIN
        found = _select_routes(route_list(inside.sock, link.index, family, table), wanted)
        if all(_has_other_gateway(present, wanted) for present in found):
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
