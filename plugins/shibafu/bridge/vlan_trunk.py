"""The key `vlanTrunk`, which few networks have."""

from shibafu.bridge.config import MAX_VLAN
from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, CniError


def parse_vlan_trunk(config: Section) -> list[int]:
    """Return the VLANs of the key `vlanTrunk`, each once, in ascending order.

    Raises:
        CniError: an entry is neither a VLAN nor a range of VLANs.
    """
    vlans: set[int] = set()
    for entry in config.sections("vlanTrunk"):
        low, high, single = entry.number("minID"), entry.number("maxID"), entry.number("id")
        if low is not None and high is None:
            raise _refuse("minID and maxID should be configured simultaneously, maxID is missing")
        if high is not None and low is None:
            raise _refuse("minID and maxID should be configured simultaneously, minID is missing")
        if low is not None and high is not None:
            if not 0 < low <= MAX_VLAN:
                raise _refuse("incorrect trunk minID parameter")
            if not 0 < high <= MAX_VLAN:
                raise _refuse("incorrect trunk maxID parameter")
            if low > high:
                raise _refuse("minID is greater than maxID in trunk parameter")
            vlans.update(range(low, high + 1))
        if single is not None:
            if not 0 < single <= MAX_VLAN:
                raise _refuse("incorrect trunk id parameter")
            vlans.add(single)
    return sorted(vlans)


def _refuse(message: str) -> CniError:
    return CniError(
        INVALID_CONFIG,
        message,
        f'an entry of "vlanTrunk" has an "id", or "minID" and "maxID", from 1 to {MAX_VLAN}',
    )
