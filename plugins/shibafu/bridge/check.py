"""CHECK: is the attachment as ADD left it?

What later plugins of the chain may change (the link's hardware address, routes) is compared with the
final result, which is what the runtime hands over as prevResult.
"""

from shibafu.bridge.addressing import parse_own_result
from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.plan import plan_attachment
from shibafu.cni.delegate import Installation
from shibafu.cni.request import Request
from shibafu.resource.base import check_resources
from shibafu.resource.netns import open_container_netns
from shibafu.resource.records import NetworkState
from shibafu.resource.view import open_view


def check(request: Request, installation: Installation) -> None:
    """Compare the kernel's state with prevResult and the configuration.

    Raises:
        CniError: CHECK_FAILED and the first difference.
    """
    attachment = Attachment(request, BridgeConfig(request))
    result = parse_own_result(attachment)
    with open_container_netns(request) as netns, open_view(netns) as view:
        state = NetworkState(request.network, sock=view.sock)
        plan = plan_attachment(attachment, state, result, installation)
        check_resources(plan, view)
