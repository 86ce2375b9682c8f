"""VLANs: which ones the ports of a bridge carry, and 802.1Q interfaces."""

from struct import Struct

from shibafu.netlink.codec import (
    attr,
    attr_nested,
    attr_u16,
    attr_u32,
    parse_attr_list,
    parse_attrs,
    parse_header,
)
from shibafu.netlink.constants import (
    AF_BRIDGE,
    BRIDGE_FLAGS_SELF,
    BRIDGE_VLAN_INFO_PVID,
    BRIDGE_VLAN_INFO_RANGE_BEGIN,
    BRIDGE_VLAN_INFO_RANGE_END,
    BRIDGE_VLAN_INFO_UNTAGGED,
    IFLA_AF_SPEC,
    IFLA_BRIDGE_FLAGS,
    IFLA_BRIDGE_VLAN_INFO,
    IFLA_EXT_MASK,
    RTEXT_FILTER_BRVLAN,
    RTM_DELLINK,
    RTM_GETLINK,
    RTM_SETLINK,
)
from shibafu.netlink.link import IFINFOMSG, link_text
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

_VLAN_INFO = Struct("=HH")  # struct bridge_vlan_info: flags, VLAN ID


def bridge_vlan_add(
    index: int,
    vid: int,
    vid_end: int | None = None,
    *,
    pvid: bool = False,
    untagged: bool = False,
    self_: bool = False,
) -> NetlinkRequest:
    """Request that a bridge's port carry a VLAN, or all from vid to vid_end.

    Args:
        index: The port's, or with self_ the bridge's own.
        vid: The VLAN's ID, or the first one.
        vid_end: The last one.
        pvid: Untagged frames that come in belong to this VLAN. The kernel refuses this for a range.
        untagged: Frames of the VLAN leave without a tag.
        self_: The link is the bridge itself, not a port.
    """
    flags = (BRIDGE_VLAN_INFO_PVID if pvid else 0) | (BRIDGE_VLAN_INFO_UNTAGGED if untagged else 0)
    return _bridge_vlan(RTM_SETLINK, index, vid, vid_end, flags, self_, "add")


def bridge_vlan_del(
    index: int, vid: int, vid_end: int | None = None, *, self_: bool = False
) -> NetlinkRequest:
    """Request that a bridge's port carry a VLAN no longer; see `bridge_vlan_add`."""
    return _bridge_vlan(RTM_DELLINK, index, vid, vid_end, 0, self_, "delete")


class PortVlan:
    """A VLAN that a bridge's port carries; see `bridge_vlan_add`."""

    __slots__ = ("pvid", "untagged", "vid")

    def __init__(self, vid: int, pvid: bool, untagged: bool) -> None:
        self.vid = vid
        self.pvid = pvid
        self.untagged = untagged


def parse_port_vlans(payload: bytes) -> list[PortVlan]:
    """Decode the VLANs in the payload of an AF_BRIDGE RTM_NEWLINK.

    Raises:
        NetlinkDecodeError: it is malformed.
    """
    spec = parse_attrs(payload, IFINFOMSG.size).get(IFLA_AF_SPEC, b"")
    vlans = []
    for kind, value in parse_attr_list(spec):
        if kind == IFLA_BRIDGE_VLAN_INFO:
            flags, vid = parse_header(_VLAN_INFO, value)
            vlans.append(
                PortVlan(vid, bool(flags & BRIDGE_VLAN_INFO_PVID), bool(flags & BRIDGE_VLAN_INFO_UNTAGGED))
            )
    return vlans


def bridge_vlan_list(sock: NetlinkSocket, index: int) -> list[PortVlan]:
    """Return the VLANs that a bridge's port carries; none where the kernel does not filter VLANs."""
    payload = IFINFOMSG.pack(AF_BRIDGE, 0, 0, 0, 0) + attr_u32(IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN)
    entries = sock.dump(NetlinkRequest(RTM_GETLINK, 0, payload, "cannot list VLANs"))
    return [
        vlan
        for entry in entries
        if parse_header(IFINFOMSG, entry)[2] == index
        for vlan in parse_port_vlans(entry)
    ]


def _bridge_vlan(
    kind: int, index: int, vid: int, vid_end: int | None, flags: int, self_: bool, verb: str
) -> NetlinkRequest:
    # Without IFLA_BRIDGE_FLAGS the bridge that the port belongs to is meant.
    spec = attr_u16(IFLA_BRIDGE_FLAGS, BRIDGE_FLAGS_SELF) if self_ else b""
    vids = str(vid)
    if vid_end is None or vid_end == vid:
        spec += attr(IFLA_BRIDGE_VLAN_INFO, _VLAN_INFO.pack(flags, vid))
    else:
        spec += attr(IFLA_BRIDGE_VLAN_INFO, _VLAN_INFO.pack(flags | BRIDGE_VLAN_INFO_RANGE_BEGIN, vid))
        spec += attr(IFLA_BRIDGE_VLAN_INFO, _VLAN_INFO.pack(flags | BRIDGE_VLAN_INFO_RANGE_END, vid_end))
        vids += f"-{vid_end}"
    return NetlinkRequest(
        kind,
        0,
        IFINFOMSG.pack(AF_BRIDGE, 0, index, 0, 0) + attr_nested(IFLA_AF_SPEC, spec),
        f"cannot {verb} VLAN {vids} on {link_text(index)}",
    )
