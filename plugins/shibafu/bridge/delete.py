"""DEL: take an attachment away; what is not there is no error, and what fails does not stop the rest."""

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.state import NetworkState
from shibafu.bridge.teardown import Teardown
from shibafu.cni.delegate import Installation, delegate, prepare_delegate
from shibafu.cni.request import Request
from shibafu.netlink.teardown import link_del_announced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.bridge.masquerade import RulesTeardown


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
    teardown = Teardown()
    rules = _prepare_rules_teardown(attachment, state, teardown)
    teardown.do(lambda: _delete_links(attachment, state, installation))
    if rules is not None:
        rules.start()
    if config.has_ipam:
        teardown.do(lambda: delegate(request, config.ipam_type, "DEL", installation))
    if rules is not None:
        teardown.do(rules.finish)
    teardown.do(lambda: release(state, attachment.host_link, request.env))
    teardown.finish()


def _prepare_rules_teardown(
    attachment: Attachment, state: NetworkState, teardown: Teardown
) -> "RulesTeardown | None":
    """Start early what takes longest: removing the network's rules, if this is its last container."""
    if not state.read_rules():
        return None
    from shibafu.bridge.masquerade import RulesTeardown

    rules = RulesTeardown(state, attachment.request.env)
    teardown.do(lambda: rules.prepare(leaving=attachment.host_link))
    return rules


def release(state: NetworkState, host_link: str, env: "Mapping[str, str]") -> None:
    """Forget an attachment whose link is gone, and remove what only it still needed.

    Raises:
        CniError: everything that could not be removed.
    """
    teardown = Teardown()
    record = state.read_attachment(host_link)
    state.remove_attachment(host_link)
    if record.get("macspoofchk"):
        teardown.do(lambda: _release_guard(state, host_link, str(record.get("mac")), env))
    teardown.do(lambda: release_network(state, env))
    teardown.finish()


def release_network(state: NetworkState, env: "Mapping[str, str]") -> None:
    """Remove the rules and the records of a network that has no container.

    Raises:
        CniError: the firewall's rules could not be removed.
    """
    if state.read_rules():
        from shibafu.bridge.masquerade import teardown_if_unused

        teardown_if_unused(state, env)
    state.remove_if_unused()


def _release_guard(state: NetworkState, host_link: str, mac: str, env: "Mapping[str, str]") -> None:
    from shibafu.firewall.spoofing import SpoofGuard

    guard = SpoofGuard(state.network, env)
    if state.attachments():
        guard.unguard(host_link, mac)
    else:
        guard.teardown()


def _delete_links(attachment: Attachment, state: NetworkState, installation: Installation) -> None:
    request, config = attachment.request, attachment.config

    def prepare_ipam() -> None:
        if config.has_ipam:
            prepare_delegate(request, config.ipam_type, installation)

    is_deleted = link_del_announced(attachment.host_link, meanwhile=prepare_ipam)
    if is_deleted or state.read_attachment(attachment.host_link):
        return
    # Unknown here: an earlier DEL was first, or the reference plugin made it.
    from shibafu.bridge.takeover import delete_reference_attachment

    delete_reference_attachment(attachment)
