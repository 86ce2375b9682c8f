"""ADD: attach a container to the bridge, wholly or not at all.

The order: validate; addresses; begin the firewall's rules, which take longest; make the links while
that runs; collect it. What was done is undone, last first, when a later step fails.
"""

import time
from errno import EEXIST, ENODEV

from shibafu.bridge.addressing import calc_gateways, request_addresses
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.container import configure_container
from shibafu.bridge.host import (
    calc_mac,
    delete_bridge_if_unused,
    ensure_bridge,
    ensure_gateway_addresses,
    refuse_router_advertisements,
)
from shibafu.bridge.namespaces import Namespaces
from shibafu.bridge.state import NetworkState, link_exists
from shibafu.bridge.undo import Undo
from shibafu.cni.delegate import Installation, delegate
from shibafu.cni.errors import INVALID_CONFIG, NETWORK_SETUP, CniError
from shibafu.cni.names import calc_host_veth
from shibafu.cni.request import Request
from shibafu.cni.result import Interface, Result
from shibafu.firewall.forwarding import ensure_forwarding
from shibafu.netlink.constants import BR_STATE_FORWARDING
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import Link, link_add_veth, link_by_name, link_del, link_set_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.bridge.masquerade import Masquerade

# Pauses, in seconds, between looks at a port that the bridge has not begun to forward for.
_PORT_PAUSES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 0.5, 1.0, 1.0)


def add(request: Request, installation: Installation) -> dict[str, object]:
    """Attach the container and return the result in the configuration's version.

    Raises:
        CniError: why it could not be done; nothing is left of the attempt.
    """
    config = BridgeConfig(request)
    if not config.has_ipam and request.cni_version in ("0.1.0", "0.2.0"):
        Result().to_json(request.cni_version)  # has no form without an address; refuse before doing anything
    namespaces = Namespaces(request)
    with Undo() as undo:
        return _attach(request, config, installation, namespaces, undo).to_json(request.cni_version)


def _attach(
    request: Request, config: BridgeConfig, installation: Installation, namespaces: Namespaces, undo: Undo
) -> Result:
    host_link = calc_host_veth(config.network, request.container_id, request.ifname)
    _refuse_existing(request, namespaces, host_link)

    result = Result()
    if config.has_ipam:
        # Before the call: an IPAM plugin that fails may have got half-way.
        undo.push("the address", lambda: delegate(request, config.ipam_type, "DEL", installation))
        result = request_addresses(request, config, installation)
    gateways = calc_gateways(config, result)

    state = NetworkState(config.network)
    undo.push("the network's record", state.remove_if_unused)
    masquerade = _start_masquerade(request, config, state, result, undo)
    undo.push("the attachment's record", lambda: state.remove_attachment(host_link))
    state.write_attachment(host_link, _calc_record(request, config, result))

    bridge, created = ensure_bridge(namespaces.host, config)
    if created:
        undo.push(f"bridge {bridge.name}", lambda: delete_bridge_if_unused(namespaces.host, bridge))
    if config.is_gateway:
        ensure_gateway_addresses(namespaces.host, bridge, gateways, created, config.force_address)
        for version in {gateway.version for gateway in gateways}:
            ensure_forwarding(version)

    container_mac = config.mac or calc_mac(0x02, config.network, request.container_id, request.ifname)
    host_mac = calc_mac(0xFE, config.network, request.container_id, request.ifname)
    undo.push(f"link {host_link}", lambda: _delete_link(namespaces, host_link))
    _make_links(request, config, namespaces, bridge, host_link, (host_mac, container_mac))
    with namespaces.entered_container():
        configure_container(namespaces.container, request.ifname, result)

    if masquerade is not None:
        masquerade.finish()
        state.unlock()
    _wait_until_forwarding(namespaces, host_link)

    result.interfaces = [
        Interface(bridge.name, bridge.mac.hex(":")),
        Interface(host_link, host_mac.hex(":")),
        Interface(request.ifname, container_mac.hex(":"), request.netns),
    ]
    result.dns = config.dns or result.dns
    return result


def _refuse_existing(request: Request, namespaces: Namespaces, host_link: str) -> None:
    """Refuse an interface that the container already has, before anything of it could be touched."""
    with namespaces.entered_container():
        exists = link_exists(request.ifname)
    if exists:
        raise CniError(
            INVALID_CONFIG,
            f'container veth name ("{request.ifname}") peer provided ("{host_link}") already exists',
            "the container has an interface of that name; DEL it first, or choose another CNI_IFNAME",
        )
    if link_exists(host_link):
        raise CniError(
            INVALID_CONFIG,
            f'host veth name ("{host_link}") already exists',
            "the container is attached to this network under that interface name from another namespace; "
            "DEL it first",
        )


def _start_masquerade(
    request: Request, config: BridgeConfig, state: NetworkState, result: Result, undo: Undo
) -> "Masquerade | None":
    if not config.ip_masq or not result.ips:
        return None
    from shibafu.bridge.masquerade import Masquerade, teardown_if_unused

    subnets = [ip.address.network for ip in result.ips]
    masquerade = Masquerade(state, config.bridge, subnets, request.env)
    undo.push("the firewall's rules", lambda: teardown_if_unused(state, request.env))
    undo.push("the check of the rules", masquerade.cancel)
    masquerade.start()
    return masquerade


def _calc_record(request: Request, config: BridgeConfig, result: Result) -> dict[str, object]:
    return {
        "containerID": request.container_id,
        "ifname": request.ifname,
        "netns": request.netns,
        "bridge": config.bridge,
        "ips": [str(ip.address) for ip in result.ips],
    }


def _make_links(
    request: Request,
    config: BridgeConfig,
    namespaces: Namespaces,
    bridge: Link,
    host_link: str,
    macs: tuple[bytes, bytes],
) -> None:
    """Make the veth pair: one end a port of the bridge, the other inside the container's namespace."""
    pair = link_add_veth(
        host_link,
        request.ifname,
        namespaces.container_fd,
        mac=macs[0],
        peer_mac=macs[1],
        mtu=config.mtu or None,
        master=bridge.index,
    )
    try:
        namespaces.host.request(pair)
    except NetlinkError as error:
        if error.errno != EEXIST:
            raise
        raise CniError(
            INVALID_CONFIG,
            f'container veth name ("{request.ifname}") peer provided ("{host_link}") already exists',
            "another call is attaching the same interface of the same container",
        ) from None
    refuse_router_advertisements(host_link)
    if config.hairpin_mode:
        namespaces.host.request(link_set_port(host_link, hairpin=True))


def _wait_until_forwarding(namespaces: Namespaces, host_link: str) -> None:
    """Wait until the bridge forwards for the port: a container that starts earlier loses its first packets.

    Raises:
        CniError: it does not within three seconds.
    """
    for pause in _PORT_PAUSES:
        link = link_by_name(namespaces.host, host_link)
        if link is None:
            raise CniError(NETWORK_SETUP, f"link {host_link} was deleted while the container was attached")
        if link.port is None or link.port.state == BR_STATE_FORWARDING:
            return
        time.sleep(pause)
    raise CniError(
        NETWORK_SETUP,
        f"bridge port in error state: {host_link}",
        "the bridge does not forward for it; is spanning tree switched on, or the bridge down?",
    )


def _delete_link(namespaces: Namespaces, host_link: str) -> None:
    namespaces.host.request(link_del(host_link).ignoring(ENODEV))
