"""Neighbour entries: which MAC address an IP address has (ARP, neighbour discovery)."""

from errno import ENOENT
from struct import Struct

from shibafu.netlink.codec import attr
from shibafu.netlink.constants import NDA_DST, RTM_DELNEIGH
from shibafu.netlink.inet import calc_family, ip_text
from shibafu.netlink.socket import Request

NDMSG = Struct("=BxxxiHBB")  # family, index, state, flags, type


def neigh_del(index: int, ip: bytes) -> Request:
    """Request that what is known of an address be forgotten; that nothing is known is no failure.

    An address that a new container takes over would otherwise be sent to the old one's MAC for some seconds.
    """
    payload = NDMSG.pack(calc_family(ip), index, 0, 0, 0) + attr(NDA_DST, ip)
    return Request(RTM_DELNEIGH, 0, payload, f"cannot delete neighbour {ip_text(ip)}", (ENOENT,))
