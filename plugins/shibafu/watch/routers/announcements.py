"""What the kernel announces of links, routes and switches that routers depend on (rtnetlink(7))."""

import errno
from struct import Struct
from sys import byteorder

from shibafu.netlink.codec import parse_attrs
from shibafu.netlink.constants import (
    RTA_OIF,
    RTM_DELLINK,
    RTM_DELROUTE,
    RTM_NEWLINK,
    RTM_NEWNETCONF,
    RTM_NEWROUTE,
)
from shibafu.netlink.errors import NetlinkDecodeError
from shibafu.netlink.route import RTMSG
from shibafu.netlink.socket import NetlinkSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

# RTNLGRP_LINK, _IPV4_ROUTE, _IPV6_ROUTE, _IPV4_NETCONF, _IPV6_NETCONF (linux/rtnetlink.h).
_GROUPS = sum(1 << (number - 1) for number in (1, 7, 11, 24, 25))
_INDEX = Struct("=4xi")
_NETCONF_HEADER = 4
_NETCONFA_IFINDEX = 1


class RouterEvents:
    """The announcements of the namespace that the process is in."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(_GROUPS)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def has_news(self, links: "Collection[int]", is_waiting: bool) -> bool:
        """Return whether something has changed since the last call.

        Args:
            links: the numbers of the routers' links.
            is_waiting: whether one of these does not exist, and any new one may be it.
        """
        has_news = False
        try:
            while messages := self._socket.receive_announced():
                has_news |= any(
                    _concerns(kind, payload, links, is_waiting) for kind, _, _, _, payload in messages
                )
        except NetlinkDecodeError:
            return True
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return True  # some were lost
        return has_news


def _concerns(kind: int, payload: bytes, links: "Collection[int]", is_waiting: bool) -> bool:
    if kind in (RTM_NEWLINK, RTM_DELLINK):
        return _INDEX.unpack_from(payload)[0] in links or (is_waiting and kind == RTM_NEWLINK)
    if kind in (RTM_NEWROUTE, RTM_DELROUTE):
        is_default = not payload[1]  # the length of the destination's prefix
        return is_default or _read_link(parse_attrs(payload, RTMSG.size), RTA_OIF) in links
    if kind == RTM_NEWNETCONF:
        return _read_link(parse_attrs(payload, _NETCONF_HEADER), _NETCONFA_IFINDEX) in links
    return False


def _read_link(attrs: "dict[int, bytes]", number: int) -> int:
    return int.from_bytes(attrs.get(number, b""), byteorder, signed=True)
