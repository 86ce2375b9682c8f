"""DEL: remove an attachment; absence is not an error, and a failure does not stop the rest."""

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.removal import plan_removal
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
    state, link = NetworkState(request.network), attachment.host_link
    claim = Claim(state, link, state.read_attachment(link))
    plan = plan_removal(attachment, state, claim, installation)
    teardown = Teardown()
    # Before the link goes, or somebody might put it back.
    teardown.do(claim.leave)
    for resource in plan:
        teardown.do(resource.prepare_removal)
    teardown.remove(plan)
    teardown.finish()
