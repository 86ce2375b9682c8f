"""DEL: take an attachment away; what is not there is no error, and what fails does not stop the rest."""

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.removal import is_known, plan_removal
from shibafu.cni.delegate import Installation
from shibafu.cni.request import Request
from shibafu.resource.claim import Claim
from shibafu.resource.records import NetworkState
from shibafu.resource.teardown import Teardown


def delete(request: Request, installation: Installation) -> None:
    """Detach the container.

    Neither its namespace nor prevResult is needed: the link's name on the host is computed, and the
    other end vanishes with it.

    Raises:
        CniError: everything that could not be removed.
    """
    attachment = Attachment(request, BridgeConfig(request))
    state, config, link = NetworkState(request.network), attachment.config, attachment.host_link
    record = state.read_attachment(link)
    was_known, had_rules = is_known(state, link), bool(state.read_rules())
    claim = Claim(state, link, record)
    plan = plan_removal(attachment, state, claim, installation)
    teardown = Teardown()
    # Before the link goes, or somebody might put it back.
    teardown.do(claim.leave)
    for resource in plan:
        teardown.do(resource.prepare_removal)
    teardown.remove(plan)
    if (
        (config.needs_rules and config.has_ipam and not had_rules)
        or (config.ip_masq and not was_known)
        or (config.mac_spoof_check and not record.version)
        # Its record may also be of before the network became internal.
        or (config.internal and not record.is_internal)
    ):
        from shibafu.bridge.compat.leftovers import teardown_leftovers

        teardown.do(teardown_leftovers, attachment, state, was_known)
    teardown.finish()
