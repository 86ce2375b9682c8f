"""The kinds of what a network is made of, as far as something could keep ADD from making it."""

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.resources.fabric import Bridge
from shibafu.bridge.resources.foreign_drops import ForeignDrops
from shibafu.bridge.resources.network import NetworkRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.resource.base import Resource


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
    if config.shared_gateway is not None:
        from shibafu.bridge.resources.virtual_router import VirtualRouter

        kinds.append(VirtualRouter)
    if config.uplinks is not None:
        from shibafu.bridge.resources.uplinks import Uplinks

        kinds.append(Uplinks)
    return [*kinds, Bridge, NetworkRecord, ForeignDrops]
