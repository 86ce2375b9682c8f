"""The keys `vlan` and `vlanTrunk`, which every call reads, and the name that is computed from them.

Apart from `vlans`, which hardly any network needs.
"""

from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, CniError

_MAX_ID = 4094


def parse_vlan(config: Section) -> int:
    """Return the key `vlan`; 0 when the port is in none.

    Raises:
        CniError: it is no VLAN's number.
    """
    vlan = config.number("vlan") or 0
    if not 0 <= vlan <= _MAX_ID:
        raise CniError(
            INVALID_CONFIG,
            f"invalid VLAN ID {vlan} (must be between 0 and {_MAX_ID})",
            '"vlan" must be the number of a VLAN; 0 for none',
        )
    return vlan


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
            if not 0 < low <= _MAX_ID:
                raise _refuse("incorrect trunk minID parameter")
            if not 0 < high <= _MAX_ID:
                raise _refuse("incorrect trunk maxID parameter")
            if low > high:
                raise _refuse("minID is greater than maxID in trunk parameter")
            vlans.update(range(low, high + 1))
        if single is not None:
            if not 0 < single <= _MAX_ID:
                raise _refuse("incorrect trunk id parameter")
            vlans.add(single)
    return sorted(vlans)


def _refuse(message: str) -> CniError:
    return CniError(
        INVALID_CONFIG,
        message,
        f'an entry of "vlanTrunk" has an "id", or "minID" and "maxID", from 1 to {_MAX_ID}',
    )


def calc_gateway_link(bridge: str, vlan: int) -> str:
    """Return the name of the host's own link in a VLAN of the bridge."""
    return f"{bridge}.{vlan}"
