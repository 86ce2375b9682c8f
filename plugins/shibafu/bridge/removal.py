"""What DEL and GC remove of attachments: only what identifies them is known, and what their records tell."""

from shibafu.bridge.resources.network import NetworkRecord
from shibafu.bridge.resources.pair import HostLink, remove_host_links
from shibafu.resource.claim import Claim
from shibafu.resource.records import NetworkState, link_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.bridge.attachment import Attachment
    from shibafu.cni.delegate import Installation
    from shibafu.resource.base import Resource
    from shibafu.resource.record import Record
    from shibafu.resource.teardown import Teardown


def plan_removal(
    attachment: "Attachment", state: NetworkState, claim: Claim, installation: "Installation"
) -> "list[Resource]":
    """Return what is there of an attachment and its network, in the order in which it was made."""
    request, config, link = attachment.request, attachment.config, attachment.host_link
    plan: list[Resource] = [NetworkRecord(state, config, request.env), claim]
    plan += _plan_guards(state, link, claim.record, request.env)
    meanwhile = None
    if config.has_ipam:
        from shibafu.bridge.resources.lease import Lease

        lease = Lease(request, config.ipam_type, installation)
        meanwhile = lease.load
        plan.append(lease)
    if state.read_rules():
        from shibafu.bridge.resources.rules_removal import RulesTeardown

        plan.append(RulesTeardown(state, request.env, link))
    if is_known(state, link):
        return [*plan, HostLink(link, meanwhile)]
    from shibafu.bridge.compat.takeover import ReferenceLink

    return [*plan, ReferenceLink(attachment)]


def is_known(state: NetworkState, link: str) -> bool:
    """Return whether there is anything of an attachment: else the reference's plugin may have made it."""
    return state.remembers(link) or link_exists(link)


def _plan_guards(
    state: NetworkState, link: str, record: "Record", env: "Mapping[str, str]"
) -> "list[Resource]":
    guards: list[Resource] = []
    if record.is_internal:
        from shibafu.bridge.resources.internal import HostBarrier

        guards.append(HostBarrier(state, link, env))
    if record.has_spoof_check and record.mac:
        from shibafu.bridge.resources.spoofcheck import SpoofCheck

        guards.append(SpoofCheck(state, link, record.mac, env))
    return guards


def remove_stale(
    state: NetworkState, links: set[str], env: "Mapping[str, str]", teardown: "Teardown"
) -> bool:
    """Remove attachments by class: all links, then what watches over ports, then the claims.

    What fails, or is not reached because the process is killed, has a record by which the next GC finds it.
    An element of a set that no record tells of would stay until the network's last container goes.

    Returns:
        Whether all links are gone.
    """
    claims = {link: Claim(state, link, state.read_attachment(link)) for link in links}
    for claim in claims.values():
        teardown.do(claim.leave)
    gone: set[str] = set()
    teardown.do(_remove_links, links, gone, teardown)
    before = len(teardown.errors)
    _remove_guards(state, {link: claims[link].record for link in gone}, env, teardown)
    if len(teardown.errors) == before:
        for link in gone:
            teardown.do(claims[link].remove)
    return gone == links


def _remove_links(names: set[str], gone: set[str], teardown: "Teardown") -> None:
    """Delete links by name, and add those that are gone."""
    failures = remove_host_links(names)
    teardown.add(failures.values())
    gone |= names - failures.keys()


def _remove_guards(
    state: NetworkState, records: "dict[str, Record]", env: "Mapping[str, str]", teardown: "Teardown"
) -> None:
    """Remove what only these ports still needed, all at once."""
    guarded = [
        (link, record.mac) for link, record in records.items() if record.has_spoof_check and record.mac
    ]
    if guarded:
        from shibafu.bridge.resources.spoofcheck import release_guards

        teardown.do(release_guards, state, guarded, env)
    if any(record.is_internal for record in records.values()):
        from shibafu.bridge.resources.internal import release_barrier

        teardown.do(release_barrier, state, "", env)
