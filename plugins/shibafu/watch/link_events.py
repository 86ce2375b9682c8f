"""What rtnetlink announces: links, addresses, routes, switches and queues (rtnetlink(7)).

Of containers' namespaces only what is taken from their interfaces is of interest.
"""

from struct import Struct
from sys import byteorder

from shibafu.netlink.codec import parse_attrs
from shibafu.netlink.constants import (
    AF_BRIDGE,
    IFF_NOARP,
    IFF_PROMISC,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_GROUP,
    IFLA_IFNAME,
    IFLA_LINK,
    IFLA_LINK_NETNSID,
    IFLA_MASTER,
    IFLA_MTU,
    RTA_OIF,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELQDISC,
    RTM_DELROUTE,
    RTM_DELTFILTER,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNETCONF,
    RTM_NEWQDISC,
)
from shibafu.netlink.socket import NetlinkSocket
from shibafu.watch.culprit import describe_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shibafu.watch.interests import Interests

# RTNLGRP_*: links, addresses, routes, queues, and the switches of /proc/sys/net/*/conf (linux/rtnetlink.h).
_GROUPS = 0
for _number in (1, 4, 5, 7, 9, 11, 24, 25):
    _GROUPS |= 1 << (_number - 1)
# In the headers of links, addresses and queues the link's number is in the same place.
_INDEX = Struct("=4xi")
_FLAGS = Struct("=8xI")
_LINK_HEADER, _ROUTE_HEADER, _NETCONF_HEADER = 16, 12, 4
_ATTR = Struct("=HH")
_NETCONFA_IFINDEX = 1
_SALIENT_FLAGS = IFF_UP | IFF_NOARP | IFF_PROMISC
_SALIENT = (IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_GROUP)
_ALL_LINKS = -1  # NETCONFA_IFINDEX_ALL
_OWN = -1  # NETNSA_NSID_NOT_ASSIGNED
_BY_INDEX = frozenset(
    [RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR, RTM_NEWQDISC, RTM_DELQDISC, RTM_DELTFILTER]
)


class LinkEvents:
    """The announcements of the namespace that the process is in."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(_GROUPS)
        try:
            self._socket.listen_to_peers()
        except PermissionError:
            pass  # a service with fewer capabilities than ours: the host is what matters
        # What was announced last of each link that concerns somebody, as far as it matters.
        self._states: dict[int, object] = {}

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def read(
        self,
        interests: "Interests",
        mark: "Callable[[str, str, str], None]",
        mark_inside: "Callable[[str, str], None]",
    ) -> None:
        """Read what has come.

        Args:
            interests: what is not thrown away.
            mark: takes a network, the link of a container or an empty text, and who did it.
            mark_inside: takes a network, and the link of a container whose interface has changed.

        Raises:
            OSError: ENOBUFS: some announcements were lost.
            NetlinkDecodeError: one is malformed.
        """
        for namespace, kind, port, payload in self._receive():
            index = _read_index(kind, payload)
            if namespace != _OWN:
                for network, link in interests.find_parts_inside(namespace, index):
                    mark_inside(network, link)
                continue
            if kind == RTM_NEWLINK and payload[0] != AF_BRIDGE:
                _learn(index, payload, interests)
                if interests.knows(index) and not self._has_changed(index, payload):
                    continue
            elif kind == RTM_DELLINK:
                self._states.pop(index, None)
            if index == _ALL_LINKS:
                for network in interests.networks:
                    mark(network, "", describe_process(port))
            elif index:
                for network, link in interests.find_parts(index):
                    # Others' additional addresses are their own matter, unless hosts share the gateway.
                    if kind != RTM_NEWADDR or interests.shares_gateway(network):
                        mark(network, link, describe_process(port))

    def _receive(self) -> "Iterator[tuple[int, int, int, bytes]]":
        while received := self._socket.receive_from_peers():
            namespace, messages = received
            for kind, _, _, port, payload in messages:
                yield namespace, kind, port, payload

    def _has_changed(self, index: int, payload: bytes) -> bool:
        """Return whether a link has changed: a bridge is announced whenever a port of it does something."""
        attrs = parse_attrs(payload, _LINK_HEADER)
        (flags,) = _FLAGS.unpack_from(payload)
        state = flags & _SALIENT_FLAGS, [attrs.get(number) for number in _SALIENT]
        former = self._states.get(index)
        self._states[index] = state
        return state != former


def _learn(index: int, payload: bytes, interests: "Interests") -> None:
    """Note which network a link is of, and where its other end is."""
    if not interests.knows(index):
        length, attribute = _ATTR.unpack_from(payload, _LINK_HEADER)
        # The kernel writes the name first (rtnl_fill_ifinfo in net/core/rtnetlink.c).
        if attribute == IFLA_IFNAME:
            name = payload[_LINK_HEADER + _ATTR.size : _LINK_HEADER + length - 1]
            interests.learn(index, name.decode("utf-8", "surrogateescape"))
    if interests.knows(index):
        attrs = parse_attrs(payload, _LINK_HEADER)
        if IFLA_LINK_NETNSID in attrs:
            peer = _read_number(attrs.get(IFLA_LINK, b""))
            interests.learn_inside(index, _read_number(attrs[IFLA_LINK_NETNSID]), peer)


def _read_index(kind: int, payload: bytes) -> int:
    """Return the number of the link that an announcement is about; 0 where it does not matter."""
    if kind in _BY_INDEX:
        return int(_INDEX.unpack_from(payload)[0])
    if kind == RTM_DELROUTE:
        return _read_number(parse_attrs(payload, _ROUTE_HEADER).get(RTA_OIF, b""))
    if kind == RTM_NEWNETCONF:
        return _read_number(parse_attrs(payload, _NETCONF_HEADER).get(_NETCONFA_IFINDEX, b""))
    return 0


def _read_number(value: bytes) -> int:
    return int.from_bytes(value, byteorder, signed=True) if len(value) == 4 else 0
