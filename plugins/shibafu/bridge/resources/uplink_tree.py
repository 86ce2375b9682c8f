"""Uplinks that are all ports of the bridge, of which STP blocks those that would close a loop.

The invariant under which a loop never arises: STP is on before a second uplink enters, which is read back,
and is only turned off after all of them have left. A process may be killed between any two steps.
"""

from errno import ENODEV

from shibafu.bridge.resources.active_uplink import (
    recalls_tree,
    release_dropped,
    remember_uplinks,
)
from shibafu.bridge.resources.uplink_use import UplinkUse
from shibafu.cni.errors import NETWORK_SETUP, CniError
from shibafu.netlink.codec import parse_int
from shibafu.netlink.constants import (
    IFLA_BR_FORWARD_DELAY,
    IFLA_BR_PRIORITY,
    IFLA_BR_STP_STATE,
)
from shibafu.netlink.link import Link, link_by_index
from shibafu.netlink.link_requests import link_set, link_set_tree
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Behind all switches with the default priority, 32768, so that it is the host's own port that blocks.
_PRIORITY = 61440
# In hundredths of a second, the least that the kernel takes (net/bridge/br_private.h).
_FORWARD_DELAY, _MAX_AGE, _HELLO_TIME = 200, 600, 100


def has_tree(bridge: Link) -> bool:
    """Return whether STP is on, of the kernel or of a daemon."""
    return bridge.data.get(IFLA_BR_STP_STATE, bytes(4)) != bytes(4)


def calc_tree_delay(bridge: Link) -> float:
    """Return for how many seconds a new port does not forward: it listens, and then learns."""
    delay = parse_int(bridge.data.get(IFLA_BR_FORWARD_DELAY, bytes(4)), 4) / 100
    return 2 * delay if has_tree(bridge) else 0.0


def has_left_tree(bridge: Link) -> bool:
    """Return whether STP is still on that was turned on for uplinks."""
    return has_tree(bridge) and recalls_tree(bridge.name, bridge.index)


def leave_tree(sock: NetlinkSocket, bridge: Link) -> None:
    """Take all uplinks away from a bridge, and then turn off the STP that was turned on for them.

    The lock is held.

    Raises:
        NetlinkError: the kernel refuses.
    """
    if not recalls_tree(bridge.name, bridge.index):
        return
    release_dropped(sock, bridge, ())
    sock.request(link_set_tree(bridge.index, is_on=False))
    remember_uplinks(bridge, [], has_tree=False)


class TreeUplinks(UplinkUse):
    """How uplinks are used with `uplinkMode` stp; see `UplinkUse`."""

    __slots__ = ("_has_turned_on",)

    def __init__(self, names: "tuple[str, ...]", former: list[Link]) -> None:
        super().__init__(names, former)
        # The number of the bridge of which this call has turned STP on; 0 if it has not.
        self._has_turned_on = 0

    def find_faults(self, sock: NetlinkSocket, bridge: Link, links: list[Link]) -> "Iterator[Fault]":
        """See `UplinkUse.find_faults`."""
        if not has_tree(bridge):
            yield Fault(f"STP is off on bridge {bridge.name}, which its uplinks need")
        elif parse_int(bridge.data.get(IFLA_BR_PRIORITY, bytes(2)), 2) != _PRIORITY:
            yield Fault(f"bridge {bridge.name} has an STP priority other than {_PRIORITY}")
        yield from self._find_dropped_faults(sock, bridge, self._names)
        for link in links:
            if not link.master:
                yield Fault(f"uplink {link.name} is not a port of bridge {bridge.name}")

    def apply(self, sock: NetlinkSocket, bridge: Link, had_uplink: bool) -> None:
        """See `UplinkUse.apply`: all of them are ports of a bridge that has STP.

        Raises:
            CniError: STP is not on though the kernel has accepted it.
            NetlinkError: the kernel refuses.
        """
        release_dropped(sock, bridge, self._names)
        links = [link for link in self._find_links(sock) if link.master in (0, bridge.index)]
        self._ensure_tree(sock, bridge, links)
        for link in links:
            if not link.up or not link.master:
                self._former.append(link)
                sock.request(link_set(link.index, up=True, master=bridge.index))
        if had_uplink:
            self._former.clear()
            self._has_turned_on = 0

    def _ensure_tree(self, sock: NetlinkSocket, bridge: Link, links: list[Link]) -> None:
        present = link_by_index(sock, bridge.index) or bridge
        is_ours = not has_tree(present) or recalls_tree(bridge.name, bridge.index)
        # Before STP is on: what nobody remembers would stay on.
        remember_uplinks(bridge, links, has_tree=is_ours)
        request = link_set_tree(
            bridge.index,
            is_on=True,
            priority=_PRIORITY,
            forward_delay=_FORWARD_DELAY,
            max_age=_MAX_AGE,
            hello_time=_HELLO_TIME,
        )
        if not has_tree(present):
            # Two ports without it are a loop, which an undo must not bring back.
            self._has_turned_on = bridge.index if sum(bool(link.master) for link in links) < 2 else 0
            sock.request(request)
        elif parse_int(present.data.get(IFLA_BR_PRIORITY, bytes(2)), 2) != _PRIORITY:
            sock.request(request)
        present = link_by_index(sock, bridge.index) or bridge
        if not has_tree(present):
            what = f"STP is still off on bridge {bridge.name}, although the kernel has turned it on"
            raise CniError(NETWORK_SETUP, what, 'set "uplinkMode" to "active-backup"')

    def undo(self, sock: NetlinkSocket) -> None:
        """See `UplinkUse.undo`: turn STP off, if this call has turned it on, after its ports have left."""
        if not self._has_turned_on:
            return
        for link in self._former:
            if not link.master:
                sock.request(link_set(link.index, master=0).ignoring(ENODEV))
        sock.request(link_set_tree(self._has_turned_on, is_on=False).ignoring(ENODEV))
