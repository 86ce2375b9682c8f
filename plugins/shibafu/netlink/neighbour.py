"""Neighbours: which MAC an address has, and behind which host a MAC is (the FDB of a VXLAN interface).

Both are entries of one kind of message, and only those that stay until they are deleted are made here.
"""

from struct import Struct
from sys import byteorder

from shibafu.netlink.codec import attr, attr_u32, parse_attrs, parse_header
from shibafu.netlink.constants import (
    AF_BRIDGE,
    AF_UNSPEC,
    NDA_DST,
    NDA_IFINDEX,
    NDA_LLADDR,
    NDA_MASTER,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    NTF_SELF,
    NUD_PERMANENT,
    RTM_DELNEIGH,
    RTM_GETNEIGH,
    RTM_NEWNEIGH,
)
from shibafu.netlink.inet import calc_family, ip_text
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

# family, padding, index, state, flags, type
NDMSG = Struct("=B3xiHBB")


class Neighbour:
    """An entry as the kernel describes it.

    Args:
        index: The interface's.
        family: AF_INET, AF_INET6, or AF_BRIDGE for an entry of an FDB.
        dst: An address on the link; for an FDB the host that the MAC is behind, b'' for none.
        mac: The MAC; b'' if it is not known.
        state: NUD_*.
    """

    __slots__ = ("dst", "family", "index", "mac", "state")

    def __init__(self, index: int, family: int, dst: bytes, mac: bytes, state: int) -> None:
        self.index = index
        self.family = family
        self.dst = dst
        self.mac = mac
        self.state = state

    @property
    def permanent(self) -> bool:
        """Whether it stays until it is deleted."""
        return bool(self.state & NUD_PERMANENT)


def parse_neighbour(payload: bytes) -> Neighbour:
    """Decode the payload of RTM_NEWNEIGH or RTM_DELNEIGH.

    Raises:
        NetlinkDecodeError: it is malformed.
    """
    family, index, state, _, _ = parse_header(NDMSG, payload)
    attrs = parse_attrs(payload, NDMSG.size)
    return Neighbour(index, family, attrs.get(NDA_DST, b""), attrs.get(NDA_LLADDR, b""), state)


def neighbour_list(sock: NetlinkSocket, index: int) -> list[Neighbour]:
    """Return the addresses that are known on a link, of both families. The kernel filters."""
    payload = NDMSG.pack(AF_UNSPEC, 0, 0, 0, 0) + attr_u32(NDA_IFINDEX, index)
    return _list(sock, index, payload)


def fdb_list(sock: NetlinkSocket, index: int) -> list[Neighbour]:
    """Return the FDB of a VXLAN interface. The kernel filters."""
    return _list(sock, index, NDMSG.pack(AF_BRIDGE, index, 0, 0, 0))


def fdb_list_bridge(sock: NetlinkSocket, bridge: int) -> list[Neighbour]:
    """Return the FDB of a bridge; each entry's link is the port that the MAC is behind, or the bridge itself.

    The kernel filters, by NDA_MASTER (valid_fdb_dump_strict in net/core/rtnetlink.c).
    """
    payload = NDMSG.pack(AF_BRIDGE, 0, 0, 0, 0) + attr_u32(NDA_MASTER, bridge)
    return [
        parse_neighbour(entry)
        for entry in sock.dump(NetlinkRequest(RTM_GETNEIGH, 0, payload, "cannot list neighbours"))
        if parse_attrs(entry, NDMSG.size).get(NDA_MASTER) == bridge.to_bytes(4, byteorder)
    ]


def neighbour_replace(index: int, ip: bytes, mac: bytes) -> NetlinkRequest:
    """Request that an address on a link have a MAC, without asking for it, in place of what is there."""
    payload = (
        NDMSG.pack(calc_family(ip), index, NUD_PERMANENT, 0, 0) + attr(NDA_DST, ip) + attr(NDA_LLADDR, mac)
    )
    return _replace(payload, f"cannot add neighbour {ip_text(ip)}")


def neighbour_del(index: int, ip: bytes) -> NetlinkRequest:
    """Request that nothing be known about an address on a link."""
    payload = NDMSG.pack(calc_family(ip), index, 0, 0, 0) + attr(NDA_DST, ip)
    return NetlinkRequest(RTM_DELNEIGH, 0, payload, f"cannot delete neighbour {ip_text(ip)}")


def fdb_replace(index: int, mac: bytes, dst: bytes) -> NetlinkRequest:
    """Request that packets for a MAC go to a host, in place of where they go.

    Args:
        index: The VXLAN interface's.
        mac: Of the host's own VXLAN interface.
        dst: The host's address.
    """
    payload = NDMSG.pack(AF_BRIDGE, index, NUD_PERMANENT, NTF_SELF, 0)
    payload += attr(NDA_DST, dst) + attr(NDA_LLADDR, mac)
    return _replace(payload, f"cannot add {mac.hex(':')} behind {ip_text(dst)}")


def fdb_del(index: int, mac: bytes, dst: bytes) -> NetlinkRequest:
    """Request that packets for a MAC go to a host no longer; see `fdb_replace`."""
    payload = NDMSG.pack(AF_BRIDGE, index, 0, NTF_SELF, 0) + attr(NDA_DST, dst) + attr(NDA_LLADDR, mac)
    return NetlinkRequest(RTM_DELNEIGH, 0, payload, f"cannot delete {mac.hex(':')} behind {ip_text(dst)}")


def _replace(payload: bytes, what: str) -> NetlinkRequest:
    return NetlinkRequest(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, payload, what)


def _list(sock: NetlinkSocket, index: int, payload: bytes) -> list[Neighbour]:
    entries = sock.dump(NetlinkRequest(RTM_GETNEIGH, 0, payload, "cannot list neighbours"))
    # Kernels before 4.20 know no filter.
    return [one for one in map(parse_neighbour, entries) if one.index == index]
