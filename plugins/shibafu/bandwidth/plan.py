"""Which links an attachment has on the host, and what limits them, in the order in which it is made."""

from shibafu.bandwidth.config import BandwidthConfig, Limit
from shibafu.bandwidth.shaping import EGRESS, INGRESS, DelayLink, RateLimit, Redirection
from shibafu.cni.errors import INVALID_CONFIG, NETWORK_SETUP, CniError
from shibafu.cni.names import calc_host_veth, calc_ifb, calc_reference_ifb
from shibafu.netlink.link import link_by_name, link_peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from shibafu.cni.request import Request
    from shibafu.cni.result import Result
    from shibafu.resource.base import Resource
    from shibafu.resource.netns import Netns
    from shibafu.resource.view import View


def plan_bandwidth(request: "Request", result: "Result", view: "View") -> "list[Resource]":
    """Return what limits a container's traffic; nothing where it has no link on the host.

    Args:
        request: a call of the plugin.
        result: what its chain answered.
        view: the host's namespace, including the container's.

    Raises:
        CniError: the configuration is refused.
    """
    config = BandwidthConfig(request.config)
    inside = view.inside.link(request.ifname) if view.inside is not None else None
    port = link_peer(view.sock, inside) if inside is not None else None
    if port is None:
        return []
    return plan_limits(request, port.name, choose_delay_link(request, result), config)


def plan_limits(request: "Request", port: str, delay_link: str, config: BandwidthConfig) -> "list[Resource]":
    """Return what limits a container's traffic.

    Args:
        request: the call.
        port: the name of the container's link on the host.
        delay_link: the name of the link to delay in what the container sends.
        config: how fast.
    """
    ingress = plan_ingress(port, config.ingress) if config.ingress is not None else []
    egress = plan_egress(request, port, delay_link, config.egress) if config.egress is not None else []
    return ingress + egress


def plan_unlimited(
    request: "Request", port: str, delay_link: str, config: BandwidthConfig
) -> "list[Resource]":
    """Return what is not to be there, but may be from a former ADD."""
    ingress = plan_ingress(port, None) if config.ingress is None else []
    egress = plan_egress(request, port, delay_link, None) if config.egress is None else []
    return ingress + egress


def plan_ingress(port: str, limit: Limit | None) -> "list[Resource]":
    """Return what limits what the container receives; without a limit, what did."""
    return [RateLimit(port, INGRESS, limit)]


def plan_egress(request: "Request", port: str, delay_link: str, limit: Limit | None) -> "list[Resource]":
    """Return what limits what the container sends; without a limit, what did.

    The limit comes last, as in the reference: a link that has one, and that nothing leads to, was left over.
    """
    return [
        DelayLink(request.network, delay_link, port),
        Redirection(port, delay_link),
        RateLimit(delay_link, EGRESS, limit),
    ]


def find_host_link(view: "View", netns: "Netns", request: "Request", result: "Result") -> str:
    """Return the name of the container's link on the host.

    Args:
        view: the host's namespace.
        netns: the container's.
        request: the call.
        result: what the plugins before this one have answered.

    Raises:
        CniError: there is none, or none that they have told of.
    """
    if not result.interfaces:
        raise CniError(
            INVALID_CONFIG, "no interfaces provided", "put it after a plugin whose result has interfaces"
        )
    inside = link_by_name(netns.sock, request.ifname)
    if inside is None or inside.kind != "veth":
        not_found = f'could not look up "{request.ifname}": Link not found'
        why = not_found if inside is None else f'interface "{request.ifname}" was not a veth interface'
        raise CniError(
            NETWORK_SETUP,
            f"container interface {request.ifname} has no veth peer: {why}",
            "only a container that a veth pair connects to the host can be limited",
        )
    link = link_peer(view.sock, inside)
    if link is None:
        raise CniError(NETWORK_SETUP, f"veth peer with index {inside.peer} is not in host ns")
    if not any(i.name == link.name and not i.sandbox for i in result.interfaces):
        raise CniError(
            NETWORK_SETUP,
            "no veth peer of container interface found in host ns",
            f"prevResult does not name {link.name}, the other end of {request.ifname}",
        )
    view.learn(link)
    return link.name


def choose_delay_link(request: "Request", result: "Result") -> str:
    """Return the name of the link to delay in: the reference's, if that has limited the container."""
    reference = calc_reference_ifb(request.network, request.container_id)
    if any(i.name == reference for i in result.interfaces):
        return reference
    return calc_ifb(request.network, request.container_id, request.ifname)


def plan_remains(view: "View", request: "Request", result: "Result | None") -> "Iterator[Resource]":
    """Yield what may be there of an attachment, in the order in which it was made.

    Args:
        view: the host's namespace.
        request: the call.
        result: what the chain's ADD answered; None where that is unknown.
    """
    stated = [i.name for i in result.interfaces if not i.sandbox] if result is not None else []
    delay_links = [calc_ifb(request.network, request.container_id, request.ifname)]
    # Of the reference's there is one a container: it may be another interface's.
    reference = calc_reference_ifb(request.network, request.container_id)
    if result is None or reference in stated:
        delay_links.append(reference)
    own = calc_host_veth(request.network, request.container_id, request.ifname)
    ports = [
        name
        for name in dict.fromkeys([own, *stated])
        if (link := view.link(name)) is not None and link.kind == "veth"
    ]
    for port in ports:
        yield from plan_ingress(port, None)
    for delay_link in delay_links:
        yield DelayLink(request.network, delay_link)
        for port in ports:
            yield Redirection(port, delay_link)
