"""Addresses: which are the attachment's own, and their gateways and routes."""

from shibafu.bridge.config import BridgeConfig
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.result import IPConfig, Result, Route, parse_prev_result
from shibafu.lean.ip import Address, Cidr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.bridge.attachment import Attachment
    from shibafu.cni.request import Request

# The container's place in the result's list of interfaces: bridge, host's link, container's link.
CONTAINER_INTERFACE = 2


def parse_own_result(attachment: "Attachment") -> Result:
    """Return prevResult, which says what there is to compare.

    Raises:
        CniError: INVALID_CONFIG: it is missing, or says nothing of the attachment.
    """
    request, ifname = attachment.request, attachment.ifname
    result = parse_prev_result(request.config, request.cni_version)
    if result is None:
        what = "Required prevResult missing"
    elif not any(interface.name == ifname and interface.sandbox for interface in result.interfaces):
        what = f"prevResult lacks interface {ifname} of the container"
    elif attachment.config.has_ipam and not select_own_ips(request, result):
        what = f"prevResult lacks an address of interface {ifname}"
    else:
        return result
    raise CniError(INVALID_CONFIG, what, "CHECK needs the result of ADD as prevResult")


def find_own_interfaces(request: "Request", result: Result) -> list[int]:
    """Return the places of the container's interface in the result."""
    return [
        i
        for i, interface in enumerate(result.interfaces)
        if interface.name == request.ifname and interface.sandbox == request.netns
    ]


def select_own_ips(request: "Request", result: Result) -> list[IPConfig]:
    """Return the addresses that a result gives to the container's interface."""
    return select_own(request, result).ips


def select_own(request: "Request", result: Result) -> Result:
    """Return what a result says of the container's interface: itself, its addresses and the routes."""
    places = find_own_interfaces(request, result)
    interfaces = [result.interfaces[i] for i in places]
    places = places or [CONTAINER_INTERFACE]
    ips = [ip for ip in result.ips if ip.interface is None or ip.interface in places]
    return Result(interfaces, ips, result.routes)


def complete_result(config: BridgeConfig, result: Result) -> None:
    """Complete an IPAM result in place.

    Each address belongs to the container's link; where the bridge is the gateway, an address without
    one gets the first of its subnet; with isDefaultGateway each family gets a default route. Default routes
    have the metric that the configuration states, unless IPAM stated another.

    Raises:
        CniError: INVALID_CONFIG for a gateway that cannot be.
    """
    for ip in result.ips:
        ip.interface = CONTAINER_INTERFACE
        if not config.is_gateway:
            continue
        if ip.gateway is None:
            ip.gateway = _calc_default_gateway(ip.address)
        if not any(ip.gateway.packed):
            raise CniError(
                INVALID_CONFIG,
                f"gateway {ip.gateway} is not a usable address",
                'remove "gateway", for the first address of the subnet, or set "isGateway" to false',
            )
        if config.is_default_gateway:
            _ensure_default_route(result, ip)
    for route in result.routes if config.metric else []:
        if route.is_default:
            route.priority = route.priority or config.metric


def _calc_default_gateway(address: Cidr) -> Address:
    first = address.first + 1
    if first >> address.address.bits:
        raise CniError(
            INVALID_CONFIG,
            f"address {address} has no default gateway: no address follows it",
            'set "gateway" in "ipam", or set "isGateway" to false',
        )
    return Address(address.version, first)


def _ensure_default_route(result: Result, ip: IPConfig) -> None:
    for route in result.routes:
        if route.dst.version == ip.address.version and route.is_default:
            # One that IPAM gave without a gateway means this gateway.
            route.gw = route.gw or ip.gateway
            return
    result.routes.append(Route(Cidr(Address(ip.address.version, 0), 0), ip.gateway))


def resolve_gateway(route: Route, ips: list[IPConfig]) -> Address | None:
    """Return a route's next hop: its own, or else the first gateway of its family.

    A route to neighbours has none by definition.
    """
    if route.gw is not None or route.leads_to_neighbours:
        return route.gw
    for ip in ips:
        if ip.gateway is not None and ip.gateway.version == route.dst.version:
            return ip.gateway
    return None
