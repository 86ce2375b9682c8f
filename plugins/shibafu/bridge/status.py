"""STATUS: would ADD work now?"""

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.resources.fabric import Bridge
from shibafu.bridge.resources.foreign_drops import ForeignDrops
from shibafu.bridge.resources.network import NetworkRecord
from shibafu.cni.delegate import Installation, delegate
from shibafu.cni.request import Request
from shibafu.resource.records import NetworkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.resource.base import Resource


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


def list_kinds(config: BridgeConfig, has_policies: bool = False) -> "list[type[Resource]]":
    """Return the kinds of what ADD makes on such a network that something could keep it from making."""
    kinds: list[type[Resource]] = []
    if config.ip_masq or config.isolate:
        from shibafu.bridge.resources.masquerade import Rules

        kinds.append(Rules)
    if config.mac_spoof_check:
        from shibafu.bridge.resources.spoofcheck import SpoofCheck

        kinds.append(SpoofCheck)
    if config.internal:
        from shibafu.bridge.resources.internal import InternalIsolation

        kinds.append(InternalIsolation)
    if has_policies or config.stated_policies:
        from shibafu.policy.membership import PolicyMembership

        kinds.append(PolicyMembership)
    return [*kinds, Bridge, NetworkRecord, ForeignDrops]
