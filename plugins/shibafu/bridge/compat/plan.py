"""The resources of an attachment that the reference's bridge plugin made, or whose records were lost."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.bridge.attachment import Attachment
    from shibafu.cni.result import Result
    from shibafu.resource.base import Resource
    from shibafu.resource.records import NetworkState


def plan_reference(attachment: "Attachment", state: "NetworkState", result: "Result") -> "list[Resource]":
    """Return the links of a container that shibafu did not attach, and its rules."""
    from shibafu.bridge.compat.takeover import find_port

    links = plan_reference_links(attachment, result, find_port(attachment, result))
    return links + plan_reference_rules(attachment, state, result)


def plan_reference_links(attachment: "Attachment", result: "Result", port: str) -> "list[Resource]":
    """Return the links, of which the one on the host is called `port`, and what limits that."""
    from shibafu.bridge.plan import plan_links

    rules: list[Resource] = []
    if attachment.config.mac_spoof_check:
        from shibafu.bridge.compat.reference_rules import ReferenceSpoofCheck

        rules.append(ReferenceSpoofCheck(attachment, port))
    return plan_links(attachment, result, port, rules)


def plan_reference_rules(
    attachment: "Attachment", state: "NetworkState", result: "Result"
) -> "list[Resource]":
    """Return the rules that the container needs, if it needs any."""
    if not (attachment.config.isolate or attachment.config.ip_masq):
        return []
    from shibafu.bridge.compat.reference_rules import ReferenceRules

    return [ReferenceRules(attachment, state, result)]


def complete_removal(
    plan: "list[Resource]", attachment: "Attachment", state: "NetworkState", is_known: bool
) -> "list[Resource]":
    """Return a removal together with what has no record.

    Args:
        plan: what is removed by records.
        attachment: the attachment.
        state: the network's records.
        is_known: whether shibafu made the attachment; else the reference may have.
    """
    config, env = attachment.config, attachment.request.env
    lost: list[Resource] = []
    if config.needs_rules or config.mac_spoof_check or config.internal:
        from shibafu.bridge.compat.orphans import OrphanedRules, list_orphaned_rules

        listing = list_orphaned_rules(config, env)
        lost.append(OrphanedRules(config, state, env, listing))
        if not is_known:
            from shibafu.bridge.compat.reference_rules import ReferenceMasquerade, ReferenceSpoofCheck

            lost += [ReferenceMasquerade(attachment, listing)] if config.ip_masq else []
            lost += [ReferenceSpoofCheck(attachment)] if config.mac_spoof_check else []
    if is_known:
        return lost + plan
    from shibafu.bridge.compat.takeover import ReferenceLink

    return [*lost, *plan, ReferenceLink(attachment)]
