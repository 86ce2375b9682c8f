"""ADD: attach a container to the bridge, wholly or not at all.

The order: validate; remember; addresses; begin the firewall's rules, which take longest; make the links while
that runs; collect it. What was done is undone, last first, when a later step fails.
"""

import os
from errno import ENODEV

from shibafu.bridge.addressing import calc_gateways, request_addresses
from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.namespaces import Namespaces
from shibafu.bridge.resources.fabric import delete_bridge_if_unused, ensure_bridge, ensure_gateway
from shibafu.bridge.resources.interface import announce_addresses, configure_container, wait_for_dad
from shibafu.bridge.resources.isolation import KEPT_APART
from shibafu.bridge.resources.port import create_pair, refuse_existing, setup_port, start_port, teardown_port
from shibafu.cni.delegate import Installation, delegate, find_plugin
from shibafu.cni.request import Request
from shibafu.cni.result import Interface, Result
from shibafu.netfilter.forwarding import bridged_versions, routes_loopback
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import Link, link_by_index
from shibafu.resource.claim import Claim
from shibafu.resource.record import ADDRESSED, COMPLETE
from shibafu.resource.records import NetworkState, link_exists
from shibafu.resource.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.bridge.resources.masquerade import Masquerade


def add(request: Request, installation: Installation) -> dict[str, object]:
    """Attach the container and return the result in the configuration's version.

    Raises:
        CniError: why it could not be done; nothing is left of the attempt.
    """
    config = BridgeConfig(request)
    if not config.has_ipam:
        # The oldest versions have no result without addresses: refused before anything is done.
        Result().to_json(request.cni_version)
    attachment = Attachment(request, config)
    namespaces = Namespaces(request)
    try:
        state = NetworkState(config.network)
        claim = Claim(state, attachment.host_link, attachment.calc_record(namespaces.identify_container()))
        with namespaces.lock_container(), claim.lock():
            _refuse_if_attached(attachment, namespaces)
            with Undo() as undo:
                return _attach(attachment, namespaces, installation, state, claim, undo)
    finally:
        namespaces.close()


def _attach(
    attachment: Attachment,
    namespaces: Namespaces,
    installation: Installation,
    state: NetworkState,
    claim: Claim,
    undo: Undo,
) -> dict[str, object]:
    request, config, host = attachment.request, attachment.config, namespaces.host
    undo.push("the network's record", lambda: _release_network(state, request))
    undo.push("the attachment's record", claim.remove)
    result = Result()
    claim.begin()
    if config.has_ipam:
        if os.access(find_plugin(config.ipam_type, request.env.get("CNI_PATH", "")), os.X_OK):
            # Before the call: an IPAM plugin that fails may have got half-way.
            undo.push("the address", lambda: delegate(request, config.ipam_type, "DEL", installation))
        result = request_addresses(request, config, installation)
    gateways = calc_gateways(config, result)
    masquerade = _start_masquerade(attachment, state, result, undo)
    if result.ips:
        claim.record.ips = [str(ip.address) for ip in result.ips]
        claim.update(ADDRESSED)

    bridge, created = ensure_bridge(host, config)
    if created:
        undo.push(f"bridge {bridge.name}", lambda: delete_bridge_if_unused(host, bridge))
    gateway = ensure_gateway(host, config, bridge, gateways, created) if config.is_gateway else None
    if masquerade is None and (gateway or bridge).group in KEPT_APART and state.remembers_isolation():
        # It was isolated until now, and still has the rule.
        masquerade = _start_masquerade(attachment, state, result, undo, is_forced=True)
    create_pair(attachment, namespaces, bridge)
    # Not before: one that was there is somebody else's.
    undo.push(f"link {attachment.host_link}", lambda: teardown_port(host, attachment.host_link))
    setup_port(attachment, namespaces, bridge)
    claim.require()
    if config.mac_spoof_check or config.internal:
        _guard_port(attachment, state, undo, is_locked=masquerade is not None)
    if not config.disable_container_interface:
        with namespaces.entered_container():
            configure_container(namespaces.container, request.ifname, result, config)

    if masquerade is not None:
        masquerade.finish()
        state.unlock()
    port = _start(attachment, namespaces, result, claim)
    result.interfaces = _calc_interfaces(attachment, namespaces, bridge, port)
    if gateway is not None and gateway.index != bridge.index:
        result.interfaces.append(Interface(gateway.name, gateway.mac.hex(":")))
    result.dns = config.dns or result.dns
    answer = result.to_json(request.cni_version)
    claim.record.result = answer
    claim.update(COMPLETE)
    return answer


def _release_network(state: NetworkState, request: Request) -> None:
    from shibafu.bridge.delete import release_network

    release_network(state, request.env)


def _refuse_if_attached(attachment: Attachment, namespaces: Namespaces) -> None:
    """Refuse an interface that is there already, before anything of it could be touched."""
    with namespaces.entered_container():
        exists = link_exists(attachment.ifname)
    if exists:
        raise refuse_existing(attachment, "DEL that interface first, or choose another CNI_IFNAME")
    if link_exists(attachment.host_link):
        raise refuse_existing(attachment, "the container is attached from another namespace; DEL that first")


def _start_masquerade(
    attachment: Attachment, state: NetworkState, result: Result, undo: Undo, is_forced: bool = False
) -> "Masquerade | None":
    config, env = attachment.config, attachment.request.env
    # A port was published for another container, and this one would reach the host's 127.0.0.1.
    is_forced = is_forced or routes_loopback(config.gateway_link)
    if not result.ips or not (config.needs_rules or is_forced or bridged_versions(config.bridge)):
        return None
    from shibafu.bridge.resources.masquerade import Masquerade, find_needs, teardown_if_unused

    needs = find_needs(config, [ip.address.network for ip in result.ips], env, is_forced)
    if needs is None:
        return None
    backend, rules = needs
    masquerade = Masquerade(state, backend, rules, env)
    undo.push("the firewall's rules", lambda: teardown_if_unused(state, env))
    undo.push("what iptables was asked for", masquerade.cancel)
    masquerade.start()
    return masquerade


def _start(attachment: Attachment, namespaces: Namespaces, result: Result, claim: Claim) -> Link:
    """Let packets through, and tell neighbours of the addresses; return the port."""
    try:
        port = start_port(attachment, namespaces)
        if result.ips:
            if attachment.config.enable_dad:
                wait_for_dad(namespaces.container, attachment.ifname, result)
            announce_addresses(namespaces.container, attachment.ifname, attachment.mac, result)
    except NetlinkError as error:
        if error.errno != ENODEV:
            raise
        raise claim.describe_overtaken() from None
    return port


def _guard_port(attachment: Attachment, state: NetworkState, undo: Undo, is_locked: bool) -> None:
    """Have the firewall watch a port before it is up."""
    if not is_locked:
        state.lock_shared()
    try:
        if attachment.config.mac_spoof_check:
            _start_guard(attachment, state, undo)
        if attachment.config.internal:
            _start_barrier(attachment, state, undo)
    finally:
        if not is_locked:
            state.unlock()


def _start_guard(attachment: Attachment, state: NetworkState, undo: Undo) -> None:
    from shibafu.bridge.resources.spoofcheck import ensure_guard, release_guard

    env, port, mac = attachment.request.env, attachment.host_link, attachment.mac.hex(":")
    undo.push("the guard against spoofing", lambda: release_guard(state, port, mac, env))
    ensure_guard(state, port, mac, env)


def _start_barrier(attachment: Attachment, state: NetworkState, undo: Undo) -> None:
    from shibafu.bridge.resources.internal import ensure_barrier, open_barrier, release_barrier

    env, port = attachment.request.env, attachment.host_link
    barrier = open_barrier(state.network, env)
    undo.push("the barrier to the host", lambda: release_barrier(state, port, env))
    ensure_barrier(state, barrier)


def _calc_interfaces(
    attachment: Attachment, namespaces: Namespaces, bridge: Link, port: Link
) -> list[Interface]:
    """Return the result's interfaces; `addressing.CONTAINER_INTERFACE` is the place of the container's."""
    mtu, bridge_mtu = 0, 0
    if attachment.request.cni_version == "1.1.0":
        # The bridge's may have followed that of its new port.
        bridge = link_by_index(namespaces.host, bridge.index) or bridge
        mtu, bridge_mtu = port.mtu, bridge.mtu
    return [
        Interface(bridge.name, bridge.mac.hex(":"), mtu=bridge_mtu),
        Interface(attachment.host_link, attachment.host_mac.hex(":"), mtu=mtu),
        Interface(attachment.ifname, attachment.mac.hex(":"), attachment.request.netns, mtu),
    ]
