"""CHECK: is the attachment as ADD left it?

What later plugins of the chain may change (the link's hardware address, routes) is compared with the
final result, which is what the runtime hands over as prevResult.
"""

from shibafu.bridge.addressing import CONTAINER_INTERFACE
from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.namespaces import Namespaces
from shibafu.cni.delegate import Installation, delegate
from shibafu.cni.errors import CHECK_FAILED, INVALID_CONFIG, CniError
from shibafu.cni.ip import Cidr
from shibafu.cni.names import ISOLATED_GROUP
from shibafu.cni.request import Request
from shibafu.cni.result import Interface, IPConfig, Result, Route, parse_prev_result
from shibafu.netfilter.forwarding import bridged_versions, is_forwarding, is_link_forwarding, routes_loopback
from shibafu.netlink.address import addr_list
from shibafu.netlink.constants import (
    DEVCONF_ACCEPT_RA,
    DEVCONF_AUTOCONF,
    IFF_PROMISC,
    IFF_UP,
    RT_TABLE_MAIN,
    RTN_UNICAST,
)
from shibafu.netlink.link import Link, link_by_name
from shibafu.netlink.route import route_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.records import NetworkState, link_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.bridge.resources.masquerade import RulesCheck
    from shibafu.netlink.route import Route as KernelRoute


def check(request: Request, installation: Installation) -> None:
    """Compare the kernel's state with prevResult and the configuration.

    Raises:
        CniError: CHECK_FAILED and the first difference.
    """
    config = BridgeConfig(request)
    result = parse_prev_result(request.config, request.cni_version)
    if result is None:
        raise CniError(
            INVALID_CONFIG, "Required prevResult missing", "CHECK needs the result of ADD as prevResult"
        )
    attachment = Attachment(request, config)
    is_own = link_exists(attachment.host_link) or NetworkState(config.network).remembers(attachment.host_link)
    rules = _start_rules_check(attachment, result) if is_own else None
    if config.has_ipam:
        delegate(request, config.ipam_type, "CHECK", installation)

    _require_attachment(request, config, result)
    namespaces = Namespaces(request)
    try:
        bridge = _check_bridge(namespaces.host, config, result)
        name = attachment.host_link if is_own else _find_foreign_port(namespaces, attachment, result)
        port = _check_port(namespaces.host, config, name, bridge)
        _check_container_link(namespaces.container, attachment, result, port)
        if config.is_gateway:
            _check_gateway(namespaces.host, attachment, result)
    finally:
        namespaces.close()
    if not is_own:
        _check_foreign_rules(attachment, result, port)
    elif config.mac_spoof_check:
        _check_guard(attachment)
    if config.internal:
        _check_barrier(request, config)
    if rules is not None:
        rules.finish()
    if result.ips:
        _check_drops(request, config, result)


def _check_drops(request: Request, config: BridgeConfig, result: Result) -> None:
    from shibafu.bridge.overruled import find_overruling_drop

    subnets = [ip.address.network for ip in _own_ips(request, result)]
    drop = find_overruling_drop(config, subnets, request.env)
    if drop is not None:
        raise _failed(drop.describe(config.network), drop.advice)


def _start_rules_check(attachment: Attachment, result: Result) -> "RulesCheck | None":
    config, env = attachment.config, attachment.request.env
    state = NetworkState(config.network)
    # With a port published, containers would reach the host's 127.0.0.1.
    is_forced = bool(state.read_rules()) or routes_loopback(config.gateway_link)
    if not result.ips or not (config.needs_rules or is_forced or bridged_versions(config.bridge)):
        return None
    from shibafu.bridge.resources.masquerade import RulesCheck, find_needs

    subnets = [ip.address.network for ip in _own_ips(attachment.request, result)]
    needs = find_needs(config, subnets, env, is_forced)
    return RulesCheck(state, *needs, env) if needs is not None else None


def _find_foreign_port(namespaces: Namespaces, attachment: Attachment, result: Result) -> str:
    """Return the link on the host of a container that shibafu did not attach: the reference may have."""
    from shibafu.bridge.compat.takeover_check import find_reference_port

    return find_reference_port(namespaces, attachment, result) or attachment.host_link


def _check_foreign_rules(attachment: Attachment, result: Result, port: Link) -> None:
    from shibafu.bridge.compat.takeover_check import has_reference_guard, has_reference_rules

    config, ips = attachment.config, _own_ips(attachment.request, result)
    # The network's rules, which are there as soon as shibafu has attached a container, are as good.
    if config.isolate or (config.ip_masq and not has_reference_rules(attachment, ips)):
        rules = _start_rules_check(attachment, result)
        if rules is not None:
            rules.finish()
    if config.mac_spoof_check and not has_reference_guard(attachment, port.name):
        raise _lacks_guard(port.name)


def _failed(message: str, details: str = "") -> CniError:
    return CniError(CHECK_FAILED, message, details)


def _own_interfaces(request: Request, result: Result) -> list[int]:
    """Return the places of the container's interface in the result."""
    return [
        i
        for i, interface in enumerate(result.interfaces)
        if interface.name == request.ifname and interface.sandbox == request.netns
    ]


def _own_ips(request: Request, result: Result) -> list[IPConfig]:
    places = _own_interfaces(request, result) or [CONTAINER_INTERFACE]
    return [ip for ip in result.ips if ip.interface is None or ip.interface in places]


def _require_attachment(request: Request, config: BridgeConfig, result: Result) -> None:
    """Refuse a result that says nothing of the attachment: there would be nothing to compare."""
    if not any(interface.name == request.ifname and interface.sandbox for interface in result.interfaces):
        missing = f"interface {request.ifname} of the container"
    elif config.has_ipam and not _own_ips(request, result):
        missing = f"an address of interface {request.ifname}"
    else:
        return
    raise CniError(
        INVALID_CONFIG, f"prevResult lacks {missing}", "CHECK needs the result of ADD as prevResult"
    )


def _check_bridge(sock: NetlinkSocket, config: BridgeConfig, result: Result) -> Link:
    link = link_by_name(sock, config.bridge)
    if link is None:
        raise _failed(f"bridge {config.bridge} is missing")
    if link.kind != "bridge":
        raise _failed(f"{config.bridge} is not a bridge")
    if not link.flags & IFF_UP:
        raise _failed(f"bridge {config.bridge} is down")
    if config.promisc_mode and not link.flags & IFF_PROMISC:
        raise _failed(f"bridge {config.bridge} is not in promiscuous mode")
    if not config.vlan:
        _check_group(config, link)
    expected = [i.mac for i in result.interfaces if i.name == config.bridge and not i.sandbox and i.mac]
    if expected and link.mac.hex(":") != expected[0].lower():
        raise _failed(f"bridge {link.name} has the hardware address {link.mac.hex(':')}, not {expected[0]}")
    return link


def _check_group(config: BridgeConfig, link: Link) -> None:
    if config.isolate and link.group != ISOLATED_GROUP:
        raise _failed(
            f"link {link.name} is not in the group of isolated networks",
            f"somebody changed it from {ISOLATED_GROUP} to {link.group}; "
            "the next ADD of this network restores it",
        )


def _check_port(sock: NetlinkSocket, config: BridgeConfig, name: str, bridge: Link) -> Link:
    link = link_by_name(sock, name)
    if link is None:
        raise _failed(f"link {name} of the host is missing")
    if link.master != bridge.index or link.port is None:
        raise _failed(f"link {name} is not a port of bridge {bridge.name}")
    if not link.flags & IFF_UP:
        raise _failed(f"link {name} of the host is down")
    if config.hairpin_mode and not link.port.hairpin:
        raise _failed(f"hairpin mode of link {name} is off")
    if config.port_isolation and not link.port.isolated:
        raise _failed(f"link {name} is not isolated from other ports of bridge {bridge.name}")
    if config.internal:
        _check_internal_port(link)
    if config.has_vlans:
        from shibafu.bridge.resources.vlans import check_port_vlans

        check_port_vlans(sock, link, config.vlan, config.vlan_trunk)
    return link


def _check_internal_port(port: Link) -> None:
    from shibafu.bridge.resources.internal import is_internal_port

    if not is_internal_port(port):
        raise _failed(
            f"link {port.name} is not kept from reaching the host, though its network is internal",
            "it was attached before the network was, or its group was changed; "
            "`shibafu network repair` mends it, or attach it again",
        )


def _check_container_link(sock: NetlinkSocket, attachment: Attachment, result: Result, port: Link) -> None:
    request, ifname = attachment.request, attachment.ifname
    link = link_by_name(sock, ifname)
    if link is None:
        raise _failed(f"interface {ifname} of the container is missing")
    if link.kind != "veth" or link.peer != port.index:
        raise _failed(f"interface {ifname} is not the other end of {port.name}")
    if not link.flags & IFF_UP and not attachment.config.disable_container_interface:
        raise _failed(f"interface {ifname} of the container is down")
    for place in _own_interfaces(request, result):
        _check_mac(result.interfaces[place], link)
    present = {(address.ip, address.prefix) for address in addr_list(sock, link.index)}
    for ip in _own_ips(request, result):
        if (ip.address.address.packed, ip.address.prefix) not in present:
            raise _failed(f"address {ip.address} is missing on {ifname}")
    for route in result.routes:
        _check_route(sock, link, route)
    if result.ips and port.name == attachment.host_link:
        _check_router_advertisements(link, attachment.config)


def _check_mac(interface: Interface, link: Link) -> None:
    if interface.mac and link.mac.hex(":") != interface.mac.lower():
        raise _failed(
            f"interface {interface.name} has the hardware address {link.mac.hex(':')}, not {interface.mac}"
        )


def _check_router_advertisements(link: Link, config: BridgeConfig) -> None:
    if config.accept_ra or config.disable_container_interface:
        return
    for name, switch in (("accept_ra", DEVCONF_ACCEPT_RA), ("autoconf", DEVCONF_AUTOCONF)):
        if link.inet6_conf(switch):
            raise _failed(
                f"interface {link.name} listens to router advertisements, which any neighbour can send",
                f'{name} is on; switch it off in the container, or set the key "acceptRA"',
            )


def _check_route(sock: NetlinkSocket, link: Link, route: Route) -> None:
    family = route.dst.network.address.family
    if _has_route(route_list(sock, family=family, table=route.table or RT_TABLE_MAIN), route):
        return
    # A later plugin of the chain, such as sbr, may have moved it to another table.
    if _has_route(route_list(sock, link.index, family, table=None), route):
        return
    raise _failed(f"route to {route.dst} is missing in the container")


def _has_route(routes: "list[KernelRoute]", route: Route) -> bool:
    wanted = route.dst.network
    return any(
        present.type == RTN_UNICAST
        and present.dst_prefix == wanted.prefix
        and (present.dst or bytes(len(wanted.address.packed))) == wanted.address.packed
        for present in routes
    )


def _check_gateway(sock: NetlinkSocket, attachment: Attachment, result: Result) -> None:
    name = attachment.config.gateway_link
    link = link_by_name(sock, name)
    if link is None:
        raise _failed(f"gateway link {name} is missing")
    _check_group(attachment.config, link)
    present = {(address.ip, address.prefix) for address in addr_list(sock, link.index)}
    for ip in _own_ips(attachment.request, result):
        if ip.gateway is None:
            continue
        gateway = Cidr(ip.gateway, ip.address.prefix)
        if (gateway.address.packed, gateway.prefix) not in present:
            raise _failed(f"gateway address {gateway} is missing on {name}")
        if not is_forwarding(gateway.version):
            raise _failed(f"forwarding of IPv{gateway.version} is switched off on the host")
        if not is_link_forwarding(link, gateway.version):
            raise _failed(f"forwarding of IPv{gateway.version} is switched off on {name}")


def _check_guard(attachment: Attachment) -> None:
    from shibafu.netfilter.spoofing import SpoofGuard

    guard = SpoofGuard(attachment.config.network, attachment.request.env)
    if not guard.is_guarded(attachment.host_link, attachment.mac.hex(":")):
        raise _lacks_guard(attachment.host_link)


def _check_barrier(request: Request, config: BridgeConfig) -> None:
    from shibafu.netfilter.barrier import Barrier

    if not Barrier(config.network, request.env).is_whole():
        raise _failed(
            f"the barrier between the host and internal network {config.network} is missing",
            "a table of nftables was removed; the next ADD of this network restores it",
        )


def _lacks_guard(port: str) -> CniError:
    return _failed(
        f"the guard against spoofed hardware addresses is missing on {port}",
        "a table of nftables was removed; the next ADD of this network restores it",
    )
