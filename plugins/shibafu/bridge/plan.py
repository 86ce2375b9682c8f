"""What an attachment is made of, in order."""

from shibafu.bridge.addressing import select_own, select_own_ips
from shibafu.bridge.resources.carrier import Carrier
from shibafu.bridge.resources.fabric import Bridge, Gateway, needs_unasked_rules
from shibafu.bridge.resources.interface import ContainerInterface
from shibafu.bridge.resources.lease import AddressLease
from shibafu.bridge.resources.pair import Pair
from shibafu.bridge.resources.port import Port
from shibafu.cni.names import NFTABLES
from shibafu.lean.ip import Cidr
from shibafu.resource.base import ATTACHMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.bridge.attachment import Attachment
    from shibafu.bridge.config import BridgeConfig
    from shibafu.bridge.resources.masquerade import Rules
    from shibafu.cni.delegate import Installation
    from shibafu.cni.result import Result
    from shibafu.resource.base import Resource
    from shibafu.resource.claim import Claim
    from shibafu.resource.records import NetworkState


def plan_attachment(
    attachment: "Attachment", state: "NetworkState", result: "Result", installation: "Installation"
) -> "list[Resource]":
    """Return the resources of an attachment and those it needs, in the order in which CHECK examines them.

    Args:
        attachment: the attachment; the reference's plugin may have made it.
        state: the network's records.
        result: what its network gave it, and later plugins of the chain changed.
        installation: whose programs are called as functions.

    Raises:
        CniError: the check itself fails.
    """
    port = attachment.host_link
    if state.knows(port):
        has_policies = state.has_policies()
        port_rules = plan_port_rules(attachment, state, result, has_policies)
        made = plan_links(attachment, result, port, port_rules)
        rules = plan_rules(attachment, state, result, has_policies)
        made += rules
    else:
        from shibafu.bridge.compat.plan import plan_reference

        made, rules = plan_reference(attachment, state, result), []
    addresses = plan_addresses(attachment, installation, result)
    stated = plan_stated_policies(attachment.config)
    return [*stated, *addresses, *made, *plan_passage(attachment, result, rules)]


def plan_network(attachment: "Attachment", state: "NetworkState") -> "list[Resource]":
    """Return what ADD needs before all else: that the network's policies are in force, and its record."""
    from shibafu.bridge.resources.network import NetworkRecord

    record = NetworkRecord(state, attachment.config, attachment.request.env)
    return [*plan_stated_policies(attachment.config), record]


def plan_stated_policies(config: "BridgeConfig") -> "list[Resource]":
    """Return the policies that the network's configuration states, if it states any."""
    if not config.stated_policies:
        return []
    from shibafu.policy.stated_policies import StatedPolicies

    return [StatedPolicies(config.stated_policies)]


def plan_addresses(
    attachment: "Attachment", installation: "Installation", result: "Result | None" = None
) -> list[AddressLease]:
    """Return the lease of the container's addresses, which are in `result` if they are known."""
    request, config = attachment.request, attachment.config
    return [AddressLease(request, config.ipam_type, installation, result)] if config.has_ipam else []


def plan_links(
    attachment: "Attachment",
    result: "Result",
    port: str,
    port_rules: "Iterable[Resource]",
    claim: "Claim | None" = None,
) -> "list[Resource]":
    """Return the links of an attachment, the bridge first; that is left out while the network is paused.

    Args:
        attachment: the attachment.
        result: what its network gave it, and later plugins of the chain changed.
        port: the name of its link on the host.
        port_rules: what limits what the port may send: it is there before anything gets through.
        claim: the claim to the attachment; None when there is none.
    """
    config = attachment.config
    bridge = Bridge(config, _find_bridge_mac(attachment, result))
    own, is_adding = select_own(attachment.request, result), attachment.request.command == "ADD"
    ips = own.ips if config.is_gateway else []
    given = [Cidr(ip.gateway, ip.address.prefix) for ip in ips if ip.gateway is not None]
    shared = config.shared_gateway
    gateways = given if shared is None else shared.host_ips
    addresses = [ip.address.address for ip in ips]
    gateway = Gateway(config, bridge, gateways, addresses, port, is_adding)
    links: list[Resource] = [bridge, gateway]
    if config.uplinks is not None:
        from shibafu.bridge.resources.uplinks import Uplinks

        links.append(Uplinks(config, is_adding))
    if shared is not None:
        from shibafu.bridge.resources.virtual_router import VirtualRouter

        env = attachment.request.env
        links.append(VirtualRouter(config, shared, [one.address for one in given], port, env))
    if claim is not None and is_adding:
        links.append(Pair(attachment, claim))
    links.append(Port(config, port, claim))
    links += port_rules
    links += [ContainerInterface(attachment, own, port), Carrier(attachment, own, port, claim)]
    is_paused = claim is not None and claim.is_paused
    return [link for link in links if link.scope == ATTACHMENT] if is_paused else links


def _find_bridge_mac(attachment: "Attachment", result: "Result") -> str:
    """Return the hardware address that a result gives to the bridge; empty where it gives none."""
    stated = (i.mac for i in result.interfaces if i.name == attachment.config.bridge and not i.sandbox)
    return next((mac.lower() for mac in stated if mac), "")


def plan_rules(
    attachment: "Attachment", state: "NetworkState", result: "Result", has_policies: bool
) -> "list[Rules]":
    """Return the rules that the network needs for an attachment, if it needs any.

    Args:
        attachment: the attachment.
        state: the network's records.
        result: what its network gave it.
        has_policies: whether the host has network policies; see `plan_port_rules`.
    """
    config, env = attachment.config, attachment.request.env
    versions = {ip.address.version for ip in result.ips}
    if not versions:
        return []
    # Then FORWARD is about to see what the bridge forwards, which the rules of masquerading accept anyway.
    is_bridged = not config.ip_masq and has_policies and _is_selected(attachment, state, result)
    if not (config.needs_rules or state.read_rules() or is_bridged or needs_unasked_rules(config, versions)):
        return []
    from shibafu.bridge.resources.masquerade import Rules
    from shibafu.bridge.resources.rules_needs import find_needs

    is_rerouted = is_bridged and _is_rerouted(attachment)
    subnets = _select_subnets(attachment, result)
    needs = find_needs(config, subnets, env, state, is_bridged, is_rerouted)
    if needs is None:
        return []
    # A guard's elements change nf_tables, after which only chains of iptables are compared without a program.
    return [Rules(state, *needs, env, config.mac_spoof_check and needs[0] == NFTABLES)]


def plan_port_rules(
    attachment: "Attachment",
    state: "NetworkState",
    result: "Result",
    has_policies: bool,
    claim: "Claim | None" = None,
) -> "list[Resource]":
    """Return what limits what the container's port may send, and who reaches it.

    Args:
        attachment: the attachment.
        state: the network's records.
        result: what its network gave it.
        has_policies: whether the host has network policies. Before ADD looks for them, it has written a
            record with the addresses: policies that come later find that.
        claim: the claim to the attachment; None when there is none.
    """
    config, env = attachment.config, attachment.request.env
    port_rules: list[Resource] = []
    if config.mac_spoof_check:
        from shibafu.bridge.resources.spoofcheck import SpoofCheck

        mac = _find_mac(attachment, state)
        port_rules.append(SpoofCheck(state, config.bridge, attachment.host_link, mac, env, claim))
    if config.internal:
        from shibafu.bridge.resources.internal import InternalIsolation

        port_rules.append(InternalIsolation(state, config.bridge, attachment.host_link, env))
    return port_rules + (_plan_policies(attachment, state, result) if has_policies else [])


def _plan_policies(attachment: "Attachment", state: "NetworkState", result: "Result") -> "list[Resource]":
    """Return the container's part in the host's network policies.

    What they find it by can change while it runs, in the record and not in what a runtime states.
    """
    from shibafu.policy.membership import plan_membership

    port, bridge = attachment.host_link, attachment.config.bridge
    values, args = _find_stated(attachment, state)
    addresses = [ip.address.address for ip in select_own_ips(attachment.request, result)]
    mac = _find_mac(attachment, state)
    return plan_membership(values, args, addresses, port, bridge, attachment.request.env, mac)


def _find_mac(attachment: "Attachment", state: "NetworkState") -> str:
    """Return the hardware address that ADD gave the container: an earlier release computed another one."""
    return state.read_attachment(attachment.host_link).mac or attachment.mac.hex(":")


def _is_selected(attachment: "Attachment", state: "NetworkState", result: "Result") -> bool:
    from shibafu.policy.membership import is_selected

    addresses = [ip.address.address for ip in select_own_ips(attachment.request, result)]
    return is_selected(*_find_stated(attachment, state), addresses)


def _is_rerouted(attachment: "Attachment") -> bool:
    from shibafu.policy.membership import is_rerouting

    return is_rerouting(attachment.request.command == "ADD")


def _find_stated(attachment: "Attachment", state: "NetworkState") -> "tuple[dict[str, object], str]":
    """Return the configuration and CNI_ARGS by which policies find a container."""
    request, record = attachment.request, state.read_attachment(attachment.host_link)
    return (request.config.values, request.args) if record.config is None else (record.config, record.args)


def plan_passage(attachment: "Attachment", result: "Result", rules: "list[Rules]") -> "list[Resource]":
    """Return what others could have put in the packets' way.

    Args:
        attachment: the attachment.
        result: what its network gave it.
        rules: what `plan_rules` has returned.
    """
    if not result.ips:
        return []
    from shibafu.bridge.resources.foreign_drops import ForeignDrops

    subnets, env = _select_subnets(attachment, result), attachment.request.env
    return [ForeignDrops(attachment.config, subnets, env, rules[0] if rules else None)]


def _select_subnets(attachment: "Attachment", result: "Result") -> list[Cidr]:
    return [ip.address.network for ip in select_own_ips(attachment.request, result)]
