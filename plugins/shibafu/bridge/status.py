"""STATUS: would ADD work now?"""

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.kinds import list_kinds
from shibafu.cni.delegate import Installation, delegate
from shibafu.cni.request import Request
from shibafu.resource.records import NetworkState


def status(request: Request, installation: Installation) -> None:
    """Answer nothing when ADD would work.

    Raises:
        CniError: NOT_AVAILABLE or LIMITED_CONNECTIVITY and the reason; or the IPAM plugin's answer.
    """
    config = BridgeConfig(request)
    for kind in list_kinds(config, NetworkState(config.network).has_policies()):
        obstacle = kind.obstacle(request, config)
        if obstacle is not None:
            raise obstacle
    if config.has_ipam:
        delegate(request, config.ipam_type, "STATUS", installation)
