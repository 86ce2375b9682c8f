"""DEL: take an attachment away; what is not there is no error, and what fails does not stop the rest."""

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import BridgeConfig, is_valid_link_name
from shibafu.cni.delegate import Installation, delegate, prepare_delegate
from shibafu.cni.request import Request
from shibafu.netlink.teardown import link_del_announced
from shibafu.resource.claim import Claim
from shibafu.resource.record import Record
from shibafu.resource.records import NetworkState, link_exists
from shibafu.resource.teardown import Teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.bridge.resources.masquerade import RulesTeardown


def delete(request: Request, installation: Installation) -> None:
    """Detach the container.

    Neither its namespace nor prevResult is needed: the link's name on the host is computed, and the
    other end vanishes with it.

    Raises:
        CniError: everything that could not be removed.
    """
    config = BridgeConfig(request)
    attachment = Attachment(request, config)
    state = NetworkState(config.network)
    link = attachment.host_link
    record = state.read_attachment(link)
    is_known = state.remembers(link) or link_exists(link)
    teardown = Teardown()
    teardown.do(Claim(state, link, record).leave)
    rules = _prepare_rules_teardown(attachment, state, teardown)
    before = len(teardown.errors)
    if is_known:
        teardown.do(lambda: link_del_announced(link, lambda: _prepare_ipam(attachment, installation)))
    else:
        teardown.do(lambda: _delete_foreign_link(attachment))
    is_link_gone = len(teardown.errors) == before
    if rules is not None:
        rules.start()
    if config.has_ipam:
        teardown.do(lambda: delegate(request, config.ipam_type, "DEL", installation))
    if rules is not None:
        teardown.do(rules.finish)
    teardown.do(lambda: release(state, link, record, is_link_gone, request.env))
    if config.has_ipam:
        close_loopback(config, state)
    has_lost_rules = config.needs_rules and config.has_ipam and rules is None
    has_foreign_rules = config.ip_masq and not is_known
    has_lost_guard = config.mac_spoof_check and not record.version
    # Its record may also be of before the network became internal.
    has_lost_barrier = config.internal and not record.is_internal
    if has_lost_rules or has_foreign_rules or has_lost_guard or has_lost_barrier:
        teardown.do(lambda: _teardown_leftovers(attachment, state, is_known))
    teardown.finish()


def _prepare_rules_teardown(
    attachment: Attachment, state: NetworkState, teardown: Teardown
) -> "RulesTeardown | None":
    """Start early what takes longest: removing the network's rules, if this is its last container."""
    if not state.read_rules():
        return None
    from shibafu.bridge.resources.masquerade import RulesTeardown

    rules = RulesTeardown(state, attachment.request.env)
    teardown.do(lambda: rules.prepare(leaving=attachment.host_link))
    return rules


def release(
    state: NetworkState, host_link: str, record: Record, is_link_gone: bool, env: "Mapping[str, str]"
) -> None:
    """Remove what only an attachment still needed, and forget it if nothing of it is left.

    Raises:
        CniError: everything that could not be removed.
    """
    teardown = Teardown()
    if record.has_spoof_check and record.mac:
        teardown.do(lambda: _release_guard(state, host_link, record.mac, env))
    if record.is_internal:
        teardown.do(lambda: _release_barrier(state, host_link, env))
    if is_link_gone and not teardown.errors:
        # Last: by the record, GC finds what is left by a call that is killed, or refused something.
        teardown.do(state.remove_attachment, host_link)
    if link_exists(host_link) and not state.remembers(host_link):
        # An ADD at the same moment has made it since this call looked, and had seen the record before.
        teardown.do(lambda: link_del_announced(host_link))
    teardown.do(lambda: release_network(state, env))
    teardown.finish()


def release_network(state: NetworkState, env: "Mapping[str, str]") -> None:
    """Remove the rules and the records of a network that has no container.

    Raises:
        CniError: the firewall's rules could not be removed.
    """
    if state.read_rules():
        from shibafu.bridge.resources.masquerade import teardown_if_unused

        teardown_if_unused(state, env)
    state.remove_if_unused()


def close_loopback(config: BridgeConfig, state: NetworkState) -> None:
    """Stop routing 127.0.0.1 to the bridge of a network when its last port is gone: none is published there.

    The reference's portmap plugin switches that on, and leaves it on.
    """
    name = config.bridge
    if state.attachments() or not is_valid_link_name(name):
        return
    from shibafu.netfilter.forwarding import routes_loopback, stop_routing_loopback

    if not routes_loopback(name):
        return
    from shibafu.netlink.link import link_by_name, link_list
    from shibafu.netlink.socket import NetlinkSocket

    with NetlinkSocket() as sock:
        bridge = link_by_name(sock, name)
        # Other networks may be on the same bridge.
        is_empty = bridge is not None and not link_list(sock, master=bridge.index)
    if is_empty:
        stop_routing_loopback(name)


def _release_guard(state: NetworkState, host_link: str, mac: str, env: "Mapping[str, str]") -> None:
    from shibafu.bridge.resources.spoofcheck import release_guard

    release_guard(state, host_link, mac, env)


def _release_barrier(state: NetworkState, host_link: str, env: "Mapping[str, str]") -> None:
    from shibafu.bridge.resources.internal import release_barrier

    release_barrier(state, host_link, env)


def _prepare_ipam(attachment: Attachment, installation: Installation) -> None:
    if attachment.config.has_ipam:
        prepare_delegate(attachment.request, attachment.config.ipam_type, installation)


def _delete_foreign_link(attachment: Attachment) -> None:
    """Delete a link that is unknown here: an earlier DEL was first, or the reference plugin made it."""
    from shibafu.bridge.compat.takeover import delete_reference_link

    delete_reference_link(attachment)


def _teardown_leftovers(attachment: Attachment, state: NetworkState, is_known: bool) -> None:
    """Remove rules that no record tells of: the reference plugin's, and those whose record was lost."""
    from shibafu.bridge.compat.leftovers import teardown_leftovers

    teardown_leftovers(attachment, state, is_known)
