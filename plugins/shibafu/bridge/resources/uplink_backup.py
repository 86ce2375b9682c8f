"""Uplinks of which one is the bridge's port and the others wait, until `shibafu watch` has another take over.

There is never more than one port, or frames would loop: what is active leaves before another
enters. If a change is interrupted, the bridge has no uplink until the watcher, `network repair` or the next
ADD has chosen one.
"""

from shibafu.bridge.resources.active_uplink import (
    activate_uplink,
    has_carrier,
    order_uplinks,
    release_dropped,
)
from shibafu.bridge.resources.uplink_use import UplinkUse
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import Link
from shibafu.netlink.link_requests import link_set
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class BackupUplinks(UplinkUse):
    """How uplinks are used with `uplinkMode` active-backup."""

    __slots__ = ()

    def find_faults(self, sock: NetlinkSocket, bridge: Link, links: list[Link]) -> "Iterator[Fault]":
        """See `UplinkUse.find_faults`."""
        yield from self._find_dropped_faults(sock, bridge, self._names)
        ports = [link.name for link in links if link.master == bridge.index]
        if not ports and any(not link.master for link in links):
            yield Fault(f"no uplink is a port of bridge {bridge.name}")
        if len(ports) > 1:
            yield Fault(f"{' and '.join(ports)} are ports of bridge {bridge.name} at the same time")
        yield from _list_dead(bridge, links)

    def apply(self, sock: NetlinkSocket, bridge: Link, had_uplink: bool) -> None:
        """See `UplinkUse.apply`: one of them is the bridge's port.

        Raises:
            NetlinkError: none can be it; why not the first.
        """
        for link in self._find_usable(sock, bridge):
            if not link.up:
                self._former.append(link)
                sock.request(link_set(link.index, up=True))
        release_dropped(sock, bridge, self._names)
        # Only now is it known which of them has a carrier.
        links = order_uplinks(self._find_usable(sock, bridge), bridge)
        active = self._activate_first(sock, bridge, links)
        if active is not None and had_uplink:
            # Containers that were there before depend on it: it stays if this call fails later.
            self._former[:] = [link for link in self._former if link.index != active.index]

    def _find_usable(self, sock: NetlinkSocket, bridge: Link) -> list[Link]:
        return [link for link in self._find_links(sock) if link.master in (0, bridge.index)]

    def _activate_first(self, sock: NetlinkSocket, bridge: Link, links: list[Link]) -> Link | None:
        """Make the first that can be it the active one, and return it."""
        refusals: list[NetlinkError] = []
        for link in links:
            try:
                activate_uplink(sock, bridge, links, link)
            except NetlinkError as error:
                refusals.append(error)
                continue
            if link.master != bridge.index:
                self._former.append(link)
            return link
        if refusals:
            raise refusals[0]
        return None


def _list_dead(bridge: Link, links: list[Link]) -> "Iterator[Fault]":
    """Yield what is wrong where nothing gets through the active uplink, as far as its carrier tells."""
    # One that is down may have a carrier once it is up: that is another fault.
    if not links or not all(link.up for link in links):
        return
    working = [link.name for link in links if has_carrier(link) and link.master in (0, bridge.index)]
    if working:
        for link in links:
            if link.master == bridge.index and not has_carrier(link):
                yield Fault(f"uplink {link.name} is active without a carrier, although {working[0]} has one")
