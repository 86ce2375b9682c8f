"""What rtnetlink announces about the links, neighbours, routes and addresses of overlay networks."""

from collections.abc import Iterable
from struct import Struct
from sys import byteorder

from shibafu.netlink.codec import parse_attrs
from shibafu.netlink.constants import (
    AF_BRIDGE,
    NUD_PERMANENT,
    RTA_OIF,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
)
from shibafu.netlink.neighbour import NDMSG
from shibafu.netlink.route import RTMSG
from shibafu.netlink.socket import NetlinkSocket

# RTNLGRP_*: links, neighbours, addresses and routes (linux/rtnetlink.h).
_GROUPS = 0
for _number in (1, 3, 5, 7, 9, 11):
    _GROUPS |= 1 << (_number - 1)
# In the headers of links and addresses the link's number is in the same place.
_INDEX = Struct("=4xi")
_OF_LINK = (RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR)


class KernelEvents:
    """The announcements of the namespace that the process is in.

    Args:
        own: the socket that the agent's requests are made by; what these do is not news.
    """

    def __init__(self, own: NetlinkSocket) -> None:
        self._socket = NetlinkSocket(_GROUPS)
        self._own = own.port
        self._outer: dict[int, set[str]] = {}
        self._devices: dict[int, str] = {}

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def set_interest(self, network: str, outer: int, devices: Iterable[int]) -> None:
        """Say which links a network has: that to other hosts, and those of its VXLAN."""
        for networks in self._outer.values():
            networks.discard(network)
        self._outer.setdefault(outer, set()).add(network)
        self._devices = {index: name for index, name in self._devices.items() if name != network}
        self._devices |= dict.fromkeys(devices, network)

    def read(self) -> tuple[set[str], set[str]]:
        """Return the networks whose entries or devices have changed, and those whose link to others has.

        Raises:
            OSError: ENOBUFS: some announcements were lost.
            NetlinkDecodeError: one is malformed.
        """
        marked: set[str] = set()
        is_outer: set[str] = set()
        while messages := self._socket.receive_announced():
            for kind, _, _, port, payload in messages:
                if port == self._own:
                    continue
                index = _read_index(kind, payload)
                if index in self._devices:
                    marked.add(self._devices[index])
                elif kind in _OF_LINK:
                    # One without a link may have got one.
                    is_outer |= self._outer.get(index, set()) | self._outer.get(0, set())
                elif kind in (RTM_NEWROUTE, RTM_DELROUTE):
                    marked |= self._outer.get(index, set())
                    # The default route may have been what was missing.
                    is_outer |= self._outer.get(0, set())
        return marked, is_outer


def _read_index(kind: int, payload: bytes) -> int:
    """Return the number of the link that an announcement is about; 0 where it does not matter."""
    if kind in _OF_LINK:
        return int(_INDEX.unpack_from(payload)[0])
    if kind in (RTM_NEWNEIGH, RTM_DELNEIGH):
        family, index, state, _, _ = NDMSG.unpack_from(payload)
        # Of an FDB it is not said who has made an entry; one too many is found when nothing happens.
        if kind == RTM_NEWNEIGH and (family == AF_BRIDGE or not state & NUD_PERMANENT):
            return 0
        return int(index)
    if kind in (RTM_NEWROUTE, RTM_DELROUTE):
        value = parse_attrs(payload, RTMSG.size).get(RTA_OIF, b"")
        return int.from_bytes(value, byteorder) if len(value) == 4 else 0
    return 0
