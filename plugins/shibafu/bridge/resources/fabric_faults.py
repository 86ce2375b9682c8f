"""What is wrong with the host's side of a network: ADD does not look, it makes."""

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.resources.fabric import has_own_route
from shibafu.cni.names import NETWORK_GROUPS, STRICT
from shibafu.lean.ip import Address, Cidr
from shibafu.netfilter.forwarding import is_forwarding, is_link_forwarding
from shibafu.netlink.constants import DEVCONF_ACCEPT_RA, IFF_NOARP, IFF_PROMISC
from shibafu.netlink.link import Link, link_by_index
from shibafu.netlink.route import route_get
from shibafu.resource.base import MEND, Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.resource.view import View


def find_bridge_faults(view: "View", config: BridgeConfig, mac: str) -> list[Fault]:
    """Return what is wrong with a network's bridge; see `Bridge`."""
    name = config.bridge
    link = view.link(name)
    if link is None:
        advice = f"it was deleted; {MEND} and puts the containers back on it"
        return [Fault(f"bridge {name} is missing", advice)]
    if link.kind != "bridge":
        return [Fault(f"{name} is not a bridge", "remove or rename that link", is_mendable=False)]
    faults = []
    if not link.up:
        faults.append(Fault(f"bridge {name} is down"))
    if config.promisc_mode and not link.flags & IFF_PROMISC:
        faults.append(Fault(f"bridge {name} is not in promiscuous mode"))
    if link.flags & IFF_NOARP:
        advice = f"ARP was turned off; {MEND}"
        faults.append(Fault(f"bridge {name} does not answer ARP requests", advice))
    faults += _find_advertisement_faults(link)
    if config.internal:
        faults += _find_internal_faults(link, view.addresses(link))
    if mac and link.mac.hex(":") != mac:
        present = link.mac.hex(":")
        faults.append(Fault(f"bridge {name} has the hardware address {present}, not {mac}"))
    return faults


def find_gateway_faults(
    view: "View", config: BridgeConfig, gateways: list[Cidr], ips: list[Address]
) -> list[Fault]:
    """Return what is wrong with a network's link; see `Gateway`.

    Args:
        view: the host.
        config: the network's configuration.
        gateways: the addresses; empty where the host is not the gateway.
        ips: the container's addresses that the gateways bring routes to.
    """
    faults = []
    if config.is_gateway or not config.vlan:
        link = view.link(config.gateway_link)
        if link is not None and (config.vlan or link.kind == "bridge"):
            faults += _find_link_faults(view, link, config, gateways, ips)
        elif config.vlan:
            advice = f"it was deleted; {MEND}, and so does the next ADD of this network"
            faults.append(Fault(f"gateway link {config.gateway_link} is missing", advice))
    if config.isolate == STRICT:
        from shibafu.bridge.resources.isolation import find_faults_of_others

        faults += view.once("unknown bridges", lambda: find_faults_of_others(view.sock))
    return faults


def _find_link_faults(
    view: "View", link: Link, config: BridgeConfig, gateways: list[Cidr], ips: list[Address]
) -> list[Fault]:
    faults = _find_advertisement_faults(link) if config.vlan else []
    present = view.addresses(link) if gateways else set()
    if config.shared_gateway is not None:
        present = config.shared_gateway.leave_out(present)
    if config.uplinks is not None and config.uplinks.moves_addresses:
        from shibafu.bridge.resources.moved_addresses import select_moved

        # They are in no gateway's way, but one of them may be it.
        present = present - select_moved(config) | {(one.address.packed, one.prefix) for one in gateways}
    faults += _find_address_faults(link.name, gateways, present)
    for version in sorted({gateway.version for gateway in gateways}):
        if not is_forwarding(version):
            faults.append(Fault(f"forwarding of IPv{version} is turned off on the host", is_switch=True))
        elif not is_link_forwarding(link, version):
            faults.append(Fault(f"forwarding of IPv{version} is turned off on {link.name}", is_switch=True))
    if link.up and not faults:
        faults += _find_route_faults(view, link, gateways, ips)
    if link.group != NETWORK_GROUPS[config.isolate]:
        from shibafu.bridge.resources.isolation import find_group_faults

        faults += find_group_faults(config, link)
    return faults


def _find_address_faults(link: str, gateways: list[Cidr], present: set[tuple[bytes, int]]) -> list[Fault]:
    wanted = {(gateway.address.packed, gateway.prefix): gateway for gateway in gateways}
    faults = []
    for gateway in (gateway for key, gateway in wanted.items() if key not in present):
        from shibafu.bridge.resources.gateway_addresses import find_conflict

        what = f"gateway address {gateway} is missing on {link}"
        other = find_conflict(gateway, present - wanted.keys())
        if other is None:
            faults.append(Fault(what))
            continue
        advice = f"if nobody needs it, `ip addr del {other} dev {link}`; or choose another bridge or subnet"
        faults.append(Fault(f"{what}: {other} conflicts with it", advice, is_mendable=False))
    return faults


def find_forwarding(versions: "Iterable[int]") -> dict[str, bool]:
    """Return whether the host forwards packets, by family: `ipv4`, `ipv6`."""
    return {f"ipv{version}": is_forwarding(version) for version in sorted(versions)}


def _find_route_faults(view: "View", link: Link, gateways: list[Cidr], ips: list[Address]) -> list[Fault]:
    faults = []
    for ip in ips:
        route = route_get(view.sock, ip.packed)
        if route is not None and route.index == link.index:
            continue
        if not all(has_own_route(view.sock, link, gateway) for gateway in gateways):
            faults.append(Fault(f"the host has no route to {ip} via {link.name}"))
            continue
        other = link_by_index(view.sock, route.index) if route is not None else None
        what = f"the host drops packets for {ip} instead of routing them via {link.name}"
        if other is not None:
            what = f"the host routes {ip} via {other.name}, not via {link.name}"
        faults.append(
            Fault(
                what,
                "a route or routing rule outside this network takes precedence: see `ip rule` and "
                "`ip route get`; remove it, or choose another subnet for the network",
                is_mendable=False,
            )
        )
    return faults


def _find_advertisement_faults(link: Link) -> list[Fault]:
    """Return the fault of a link that accepts router advertisements (ipv6_accept_ra in include/net/ipv6.h).

    One that forwards does so only if that is asked for.
    """
    least = 2 if is_link_forwarding(link, 6) else 1
    if (link.inet6_conf(DEVCONF_ACCEPT_RA) or 0) < least:
        return []
    return [
        Fault(
            f"link {link.name} accepts router advertisements, which any container can send",
            f"accept_ra was turned on; {MEND}, and so does the next ADD of this network",
            is_switch=True,
        )
    ]


def _find_internal_faults(link: Link, addresses: set[tuple[bytes, int]]) -> list[Fault]:
    from shibafu.bridge.resources.internal import is_closed

    if is_closed(link, addresses):
        return []
    return [
        Fault(
            f"bridge {link.name} is not closed to its containers, although its network is internal",
            f"IPv6 was turned on, or rp_filter off; {MEND}, and so does the next ADD of this network",
            is_switch=True,
        )
    ]
