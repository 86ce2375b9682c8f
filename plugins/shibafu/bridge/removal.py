"""What DEL removes: only what identifies an attachment is known, and what its record tells."""

from shibafu.bridge.resources.network import NetworkRecord
from shibafu.bridge.resources.pair import HostLink
from shibafu.cni.errors import CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.bridge.attachment import Attachment
    from shibafu.bridge.config import BridgeConfig
    from shibafu.cni.delegate import Installation
    from shibafu.resource.base import Resource
    from shibafu.resource.claim import Claim
    from shibafu.resource.record import Record
    from shibafu.resource.records import NetworkState


def plan_removal(
    attachment: "Attachment", state: "NetworkState", claim: "Claim", installation: "Installation"
) -> "list[Resource]":
    """Return what exists of an attachment and its network, in the order of its creation."""
    request, config, link = attachment.request, attachment.config, attachment.host_link
    plan: list[Resource] = [NetworkRecord(state, config, request.env), claim]
    plan += _plan_port_rules(state, config.bridge, link, claim.record, request.env)
    meanwhile = None
    if config.has_ipam:
        from shibafu.bridge.resources.lease import AddressLease

        lease = AddressLease(request, config.ipam_type, installation)
        meanwhile = lease.load
        plan.append(lease)
    # Before the addresses can be another container's.
    plan += _plan_policies(state, config.bridge, link, claim.record, request.env)
    has_rules = bool(state.read_rules())
    if has_rules:
        from shibafu.bridge.resources.rules_removal import RulesTeardown

        plan.append(RulesTeardown(state, request.env, config.bridge, link))
    is_known = state.knows(link)
    if is_known:
        plan.append(HostLink(link, meanwhile))
        if _records_suffice(config, claim.record, has_rules):
            return plan
    from shibafu.bridge.compat.plan import complete_removal

    return complete_removal(plan, attachment, state, is_known)


def _records_suffice(config: "BridgeConfig", record: "Record", has_rules: bool) -> bool:
    """Return whether the records name everything that the configuration asks for."""
    return (
        (has_rules or not config.needs_rules or not config.has_ipam)
        and (bool(record.version) or not config.mac_spoof_check)
        # Its record may also be of before the network became internal.
        and (record.is_internal or not config.internal)
    )


def _plan_port_rules(
    state: "NetworkState", bridge: str, link: str, record: "Record", env: "Mapping[str, str]"
) -> "list[Resource]":
    rules: list[Resource] = []
    if record.is_internal:
        from shibafu.bridge.resources.internal import InternalIsolation

        rules.append(InternalIsolation(state, bridge, link, env))
    if record.has_spoof_check and record.mac:
        from shibafu.bridge.resources.spoofcheck import SpoofCheck

        rules.append(SpoofCheck(state, bridge, link, record.mac, env))
    return rules


def _plan_policies(
    state: "NetworkState", bridge: str, link: str, record: "Record", env: "Mapping[str, str]"
) -> "list[Resource]":
    if not state.has_policies():
        return []
    from shibafu.policy.membership import plan_membership

    addresses = [cidr.address for cidr in record.addresses]
    try:
        return plan_membership(record.config or {}, record.args, addresses, link, bridge, env, record.mac)
    except CniError:
        return []  # it was attached before there were policies, and is in none
