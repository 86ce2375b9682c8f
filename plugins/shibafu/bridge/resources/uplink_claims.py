"""Links that are uplinks of another bridge already; of one that waits there, the kernel does not tell."""

from shibafu.bridge.uplink_keys import UplinkKeys, parse_uplink_keys
from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.resource.record import ADDRESSED, CLAIMED
from shibafu.resource.records import NetworkState, link_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shibafu.bridge.config import BridgeConfig


def find_claimed_uplink(config: "BridgeConfig") -> CniError | None:
    """Return which of a network's uplinks is one of another bridge, on which containers are; None if none is.

    Args:
        config: the network's configuration.
    """
    wanted = config.uplinks.links if config.uplinks is not None else ()
    try:
        networks = NetworkState(config.network).networks()
    except FileNotFoundError:
        return None
    for name in networks:
        state = NetworkState(name)
        for link in state.attachments():
            record = state.read_attachment(link)
            if record.bridge == config.bridge:
                continue
            stated = read_stated_uplinks(record.config)
            taken = [one for one in wanted if stated is not None and one in stated.links]
            if taken and (link_exists(link) or record.phase in (CLAIMED, ADDRESSED)):
                what = f'uplink {taken[0]} belongs to bridge {record.bridge} of network "{name}"'
                return CniError(
                    INVALID_CONFIG, what, "name another one: a link can be an uplink of one bridge only"
                )
    return None


def read_stated_uplinks(config: "dict[str, Any] | None") -> UplinkKeys | None:
    """Return what a recorded configuration states of uplinks; None where it states none."""
    try:
        return parse_uplink_keys(Section(config or {}, "NetConf"))
    except CniError:
        return None  # of another version, which has accepted it
