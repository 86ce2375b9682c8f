"""What the kernel makes of a bridge's uplinks where it switches by itself: a bond, or STP."""

import time

from shibafu.bridge.resources.active_uplink import has_carrier, list_uplinks
from shibafu.bridge.resources.uplink_bond import find_active_slave, find_bond
from shibafu.bridge.uplink_keys import BOND
from shibafu.netlink.constants import BR_STATE_FORWARDING
from shibafu.netlink.link import Link
from shibafu.netlink.socket import NetlinkSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.bridge.uplink_keys import UplinkKeys
    from shibafu.networks.configured import ConfiguredNetwork

ACTIVE, BACKUP, DEAD = "active", "backup", "dead"
# Seconds between looks.
_LOOK = 0.5


class KernelUplinks:
    """The uplinks of one bridge, which are only looked at.

    Args:
        bridge: its name.
        keys: what is stated of them.
    """

    def __init__(self, bridge: str, keys: "UplinkKeys") -> None:
        self.keys = keys
        self.networks: list[ConfiguredNetwork] = []
        self.due = 0.0
        self._name = bridge
        self._sock = NetlinkSocket()
        self._states = dict.fromkeys(keys.links, BACKUP)
        self._switches = 0

    def close(self) -> None:
        """Close what it asks by."""
        self._sock.close()

    def forget_outage(self) -> None:
        """Leave it: nothing was told to keepalived."""

    def describe(self) -> dict[str, object]:
        """Return the state as JSON."""
        links = [{"name": name, "state": state} for name, state in self._states.items()]
        return {"bridge": self._name, "links": links, "switches": self._switches}

    def postpone(self, error: object) -> None:
        """Look again later, since a look has failed."""
        self.due = time.monotonic() + _LOOK

    def look(self, now: float) -> bool:
        """Look at the links; return whether anything has changed."""
        self.due = now + _LOOK
        former = self._states
        bond = find_bond(self._sock, self._name) if self.keys.mode == BOND else None
        active = find_active_slave(bond) if bond is not None else 0
        self._states = {name: self._find_state(name, active) for name in self.keys.links}
        gone = [name for name, state in former.items() if state == ACTIVE and self._states[name] != ACTIVE]
        self._switches += bool(gone and ACTIVE in self._states.values())
        return former != self._states

    def _find_state(self, name: str, active: int) -> str:
        found = [link for link in list_uplinks(self._sock, [name]) if has_carrier(link)]
        if not found:
            return DEAD
        return ACTIVE if self._is_active(found[0], active) else BACKUP

    def _is_active(self, link: Link, active: int) -> bool:
        if self.keys.mode == BOND:
            return link.index == active
        return link.port is not None and link.port.state == BR_STATE_FORWARDING
