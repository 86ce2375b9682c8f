"""VXLAN interfaces: Ethernet within UDP, between hosts that are told who the others are."""

from shibafu.netlink.codec import attr, attr_u8, attr_u32, parse_int
from shibafu.netlink.constants import (
    IFLA_VXLAN_GBP,
    IFLA_VXLAN_ID,
    IFLA_VXLAN_LEARNING,
    IFLA_VXLAN_LINK,
    IFLA_VXLAN_LOCAL,
    IFLA_VXLAN_LOCAL6,
    IFLA_VXLAN_PORT,
)
from shibafu.netlink.link import Link
from shibafu.netlink.link_requests import link_add
from shibafu.netlink.socket import NetlinkRequest


class Vxlan:
    """What a VXLAN interface sends packets with.

    Args:
        vni: The VXLAN's number.
        link: Index of the interface that they leave by; 0 for any.
        local: Their source address, packed; b'' for any.
        port: The UDP port of this host and of the others.
        learning: Whether it learns from packets where MACs are.
        gbp: Whether they carry the number of a group policy.
    """

    __slots__ = ("gbp", "learning", "link", "local", "port", "vni")

    def __init__(
        self, vni: int, link: int, local: bytes, port: int, learning: bool = False, gbp: bool = False
    ) -> None:
        self.vni = vni
        self.link = link
        self.local = local
        self.port = port
        self.learning = learning
        self.gbp = gbp

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vxlan) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[int, int, bytes, int, bool, bool]:
        return self.vni, self.link, self.local, self.port, self.learning, self.gbp


def link_add_vxlan(name: str, vxlan: Vxlan, mac: bytes, mtu: int) -> NetlinkRequest:
    """Request a new VXLAN interface, and set it up.

    Args:
        name: Its name.
        vxlan: What it sends packets with.
        mac: Its address.
        mtu: In bytes; the kernel allows no more than fits into a packet of the lower interface.
    """
    data = attr_u32(IFLA_VXLAN_ID, vxlan.vni)
    if vxlan.link:
        data += attr_u32(IFLA_VXLAN_LINK, vxlan.link)
    if vxlan.local:
        data += attr(IFLA_VXLAN_LOCAL if len(vxlan.local) == 4 else IFLA_VXLAN_LOCAL6, vxlan.local)
    data += attr_u8(IFLA_VXLAN_LEARNING, vxlan.learning)
    # Of all numbers of this message only this one is in network order.
    data += attr(IFLA_VXLAN_PORT, vxlan.port.to_bytes(2, "big"))
    if vxlan.gbp:
        data += attr(IFLA_VXLAN_GBP, b"")
    return link_add(name, "vxlan", data, mac=mac, mtu=mtu)


def parse_vxlan(link: Link) -> Vxlan | None:
    """Return what a link sends packets with; None for another kind of link."""
    data = link.data
    if link.kind != "vxlan" or IFLA_VXLAN_ID not in data:
        return None
    return Vxlan(
        parse_int(data[IFLA_VXLAN_ID], 4),
        parse_int(data.get(IFLA_VXLAN_LINK, bytes(4)), 4),
        data.get(IFLA_VXLAN_LOCAL) or data.get(IFLA_VXLAN_LOCAL6, b""),
        int.from_bytes(data.get(IFLA_VXLAN_PORT, b""), "big"),
        data.get(IFLA_VXLAN_LEARNING, b"\0") != b"\0",
        IFLA_VXLAN_GBP in data,
    )
