"""Network interfaces: what the kernel tells about them, and requests that make and change them.

A parameter `link` is an interface's index or its name.
"""

from errno import ENODEV
from struct import Struct

from shibafu.netlink.codec import (
    attr,
    attr_nested,
    attr_string,
    attr_u8,
    attr_u16,
    attr_u32,
    parse_attrs,
    parse_header,
    parse_int,
    parse_string,
)
from shibafu.netlink.constants import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    IFF_NOARP,
    IFF_PROMISC,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_AF_SPEC,
    IFLA_BR_VLAN_DEFAULT_PVID,
    IFLA_BR_VLAN_FILTERING,
    IFLA_BRPORT_GROUP_FWD_MASK,
    IFLA_BRPORT_ISOLATED,
    IFLA_BRPORT_MODE,
    IFLA_BRPORT_STATE,
    IFLA_EXT_MASK,
    IFLA_GROUP,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_INET6_CONF,
    IFLA_INET_CONF,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_INFO_SLAVE_KIND,
    IFLA_LINK,
    IFLA_LINK_NETNSID,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_NET_NS_FD,
    IFLA_OPERSTATE,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTEXT_FILTER_SKIP_STATS,
    RTM_DELLINK,
    RTM_GETLINK,
    RTM_NEWLINK,
    RTM_SETLINK,
    VETH_INFO_PEER,
)
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.socket import NetlinkSocket, Request

IFINFOMSG = Struct("=BxHiII")  # family, device type, index, flags, mask of flags to change


class BridgePort:
    """What a bridge knows about one of its ports.

    Args:
        state: BR_STATE_*; BR_STATE_FORWARDING when the port is up.
        hairpin: Whether frames may leave by the port they came from.
        isolated: Whether frames to other isolated ports are dropped.
        group_fwd_mask: Bit n says that frames to 01:80:c2:00:00:0n are forwarded, and not the host's alone.
    """

    __slots__ = ("group_fwd_mask", "hairpin", "isolated", "state")

    def __init__(self, state: int, hairpin: bool, isolated: bool, group_fwd_mask: int = 0) -> None:
        self.state = state
        self.hairpin = hairpin
        self.isolated = isolated
        self.group_fwd_mask = group_fwd_mask


class Link:
    """An interface as the kernel describes it.

    Args:
        index: Its number in its namespace.
        name: Its name.
        flags: IFF_*.
        kind: "bridge", "veth", "vlan", ...; '' for hardware and loopback.
        mac: Its address; b'' if it has none.
        mtu: In bytes.
        master: Index of the bridge or bond it belongs to; 0 if none.
        peer: Index of the other end of a veth pair, or of a VLAN's lower interface; 0 if none.
        link_netnsid: The namespace of the peer, as numbered in the link's own; -1 if it is the same one.
        alias: A text for people.
        operstate: IF_OPER_*.
        group: Number of the group that rules may name; 0 by default.
        info_data: Attributes of its kind, encoded; see `data`.
        port: State as a port of a bridge; None if it is none.
        af_spec: Its switches by family, encoded; see `inet_conf`.
    """

    __slots__ = (
        "af_spec",
        "alias",
        "flags",
        "group",
        "index",
        "info_data",
        "kind",
        "link_netnsid",
        "mac",
        "master",
        "mtu",
        "name",
        "operstate",
        "peer",
        "port",
    )

    def __init__(
        self,
        index: int,
        name: str,
        flags: int,
        kind: str,
        mac: bytes,
        mtu: int,
        master: int,
        peer: int,
        link_netnsid: int,
        alias: str,
        operstate: int,
        group: int,
        info_data: bytes,
        port: BridgePort | None,
        af_spec: bytes = b"",
    ) -> None:
        self.index = index
        self.name = name
        self.flags = flags
        self.kind = kind
        self.mac = mac
        self.mtu = mtu
        self.master = master
        self.peer = peer
        self.link_netnsid = link_netnsid
        self.alias = alias
        self.operstate = operstate
        self.group = group
        self.info_data = info_data
        self.port = port
        self.af_spec = af_spec

    @property
    def up(self) -> bool:
        """Whether the link is administratively up."""
        return bool(self.flags & IFF_UP)

    @property
    def data(self) -> dict[int, bytes]:
        """Attributes of a bridge or a VLAN: IFLA_BR_*, IFLA_VLAN_*.

        Other kinds are none of ours, and a driver outside the kernel may put anything there.
        """
        # Here and not when a link is decoded: a bridge has 50 of them, and hardly anybody asks.
        return parse_attrs(self.info_data) if self.kind in ("bridge", "vlan") else {}

    @property
    def vlan_filtering(self) -> bool | None:
        """Whether a bridge filters VLANs; None for another kind of link."""
        value = self.data.get(IFLA_BR_VLAN_FILTERING)
        return None if value is None or self.kind != "bridge" else parse_int(value, 1) != 0

    @property
    def vlan_default_pvid(self) -> int | None:
        """The VLAN that a bridge gives to new ports; None if the kernel cannot filter VLANs."""
        value = self.data.get(IFLA_BR_VLAN_DEFAULT_PVID)
        return None if value is None or self.kind != "bridge" else parse_int(value, 2)

    def inet_conf(self, switch: int) -> int | None:
        """Return an IPv4 switch, IPV4_DEVCONF_*: as in /proc/sys/net/ipv4/conf; None if there is none."""
        return self._conf(AF_INET, IFLA_INET_CONF, switch - 1)

    def inet6_conf(self, switch: int) -> int | None:
        """Return an IPv6 switch, DEVCONF_*: as in /proc/sys/net/ipv6/conf; None if there is none."""
        return self._conf(AF_INET6, IFLA_INET6_CONF, switch)

    def _conf(self, family: int, kind: int, place: int) -> int | None:
        switches = parse_attrs(parse_attrs(self.af_spec).get(family, b"")).get(kind, b"")
        value = switches[4 * place : 4 * place + 4]
        return parse_int(value, 4) if value else None


def parse_link(payload: bytes) -> Link:
    """Decode the payload of RTM_NEWLINK or RTM_DELLINK.

    Raises:
        NetlinkDecodeError: it is malformed.
    """
    _, _, index, flags, _ = parse_header(IFINFOMSG, payload)
    attrs = parse_attrs(payload, IFINFOMSG.size)
    zero = bytes(4)
    info = parse_attrs(attrs.get(IFLA_LINKINFO, b""))
    kind = parse_string(info.get(IFLA_INFO_KIND, b""))
    port = None
    if parse_string(info.get(IFLA_INFO_SLAVE_KIND, b"")) == "bridge":
        slave = parse_attrs(info.get(IFLA_INFO_SLAVE_DATA, b""))
        port = BridgePort(
            parse_int(slave.get(IFLA_BRPORT_STATE, b"\0"), 1),
            slave.get(IFLA_BRPORT_MODE, b"\0") != b"\0",
            slave.get(IFLA_BRPORT_ISOLATED, b"\0") != b"\0",
            parse_int(slave.get(IFLA_BRPORT_GROUP_FWD_MASK, b"\0\0"), 2),
        )
    netnsid = parse_int(attrs.get(IFLA_LINK_NETNSID, b"\xff" * 4), 4)
    return Link(
        index,
        parse_string(attrs.get(IFLA_IFNAME, b"")),
        flags,
        kind,
        attrs.get(IFLA_ADDRESS, b""),
        parse_int(attrs.get(IFLA_MTU, zero), 4),
        parse_int(attrs.get(IFLA_MASTER, zero), 4),
        parse_int(attrs.get(IFLA_LINK, zero), 4),
        # The only signed one: NETNSA_NSID_NOT_ASSIGNED is -1.
        netnsid - (1 << 32) if netnsid >> 31 else netnsid,
        parse_string(attrs.get(IFLA_IFALIAS, b"")),
        parse_int(attrs.get(IFLA_OPERSTATE, b"\0"), 1),
        parse_int(attrs.get(IFLA_GROUP, zero), 4),
        info.get(IFLA_INFO_DATA, b""),
        port,
        attrs.get(IFLA_AF_SPEC, b""),
    )


def link_by_name(sock: NetlinkSocket, name: str) -> Link | None:
    """Return the link of that name, or None if there is none."""
    return _link_get(sock, name)


def link_by_index(sock: NetlinkSocket, index: int) -> Link | None:
    """Return the link of that index, or None if there is none."""
    return _link_get(sock, index)


def link_list(sock: NetlinkSocket, master: int | None = None, kind: str | None = None) -> list[Link]:
    """Return all links, or those of a bridge, or of a kind. The kernel filters."""
    payload = ifinfo() + _SKIP_STATS
    if master is not None:
        payload += attr_u32(IFLA_MASTER, master)
    if kind is not None:
        payload += attr_nested(IFLA_LINKINFO, attr_string(IFLA_INFO_KIND, kind))
    links = [parse_link(entry) for entry in sock.dump(Request(RTM_GETLINK, 0, payload, "cannot list links"))]
    # The kernel does not filter by a kind whose module is not loaded.
    return [
        link
        for link in links
        if (master is None or link.master == master) and (kind is None or link.kind == kind)
    ]


def link_add_bridge(
    name: str,
    mac: bytes | None = None,
    mtu: int | None = None,
    up: bool = True,
    vlan_filtering: bool | None = None,
    group: int | None = None,
) -> Request:
    """Request a new bridge. One that gets its MAC here keeps it when ports come and go."""
    data = b"" if vlan_filtering is None else attr_u8(IFLA_BR_VLAN_FILTERING, vlan_filtering)
    return link_add(name, "bridge", data, mac=mac, mtu=mtu, up=up, group=group)


def link_add_veth(
    name: str,
    peer_name: str,
    peer_netns_fd: int | None = None,
    mac: bytes | None = None,
    peer_mac: bytes | None = None,
    mtu: int | None = None,
    master: int | None = None,
    up: bool = True,
) -> Request:
    """Request a new veth pair: one end here, the other in the peer's namespace.

    The peer stays down: it cannot be set up before the pair is complete (ENOTCONN).

    Args:
        name: Of the end in the socket's namespace.
        peer_name: Of the other end.
        peer_netns_fd: Namespace of the other end; None for the socket's.
        mac: Of the end here; None for a random one.
        peer_mac: Of the other end; None for a random one.
        mtu: Of both ends, in bytes; None for the kernel's choice.
        master: Index of the bridge to attach the end here to.
        up: Whether to set the end here up.
    """
    peer = ifinfo() + attr_string(IFLA_IFNAME, peer_name)
    if peer_mac is not None:
        peer += attr(IFLA_ADDRESS, peer_mac)
    if mtu is not None:
        peer += attr_u32(IFLA_MTU, mtu)
    if peer_netns_fd is not None:
        peer += attr_u32(IFLA_NET_NS_FD, peer_netns_fd)
    return link_add(name, "veth", attr(VETH_INFO_PEER, peer), mac=mac, mtu=mtu, master=master, up=up)


def link_add(
    name: str,
    kind: str,
    data: bytes = b"",
    *,
    mac: bytes | None = None,
    mtu: int | None = None,
    master: int | None = None,
    lower: int | None = None,
    up: bool = True,
    group: int | None = None,
) -> Request:
    """Request a new link of any kind.

    Args:
        name: Its name.
        kind: As in `Link`.
        data: Encoded attributes of the kind.
        mac: None for the kernel's choice.
        mtu: In bytes; None for the kernel's choice.
        master: Index of the bridge to attach it to.
        lower: Index of the link that it is built upon (IFLA_LINK).
        up: Whether to set it up.
        group: Number of its group; None for 0.
    """
    payload = ifinfo(name, IFF_UP if up else 0, IFF_UP if up else 0)
    if lower is not None:
        payload += attr_u32(IFLA_LINK, lower)
    if mac is not None:
        payload += attr(IFLA_ADDRESS, mac)
    if mtu is not None:
        payload += attr_u32(IFLA_MTU, mtu)
    if master is not None:
        payload += attr_u32(IFLA_MASTER, master)
    if group is not None:
        payload += attr_u32(IFLA_GROUP, group)
    info = attr_string(IFLA_INFO_KIND, kind)
    if data:
        info += attr_nested(IFLA_INFO_DATA, data)
    payload += attr_nested(IFLA_LINKINFO, info)
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, payload, f"cannot create {kind} {name}")


def link_set(
    link: int | str,
    *,
    up: bool | None = None,
    promisc: bool | None = None,
    arp: bool | None = None,
    mtu: int | None = None,
    mac: bytes | None = None,
    master: int | None = None,
    alias: str | None = None,
    group: int | None = None,
    operstate: int | None = None,
    netns_fd: int | None = None,
    new_name: str | None = None,
    inet_conf: dict[int, int] | None = None,
) -> Request:
    """Request changes of a link. What is None stays as it is.

    Args:
        link: Index or name; an index if it is to be renamed.
        up: Whether the link is up.
        promisc: Whether the link takes all frames.
        arp: Whether neighbours are asked for their hardware addresses, and answered.
        mtu: In bytes.
        mac: Its new address.
        master: Index of the bridge to attach it to, or 0 to detach it.
        alias: A text for people, at most 255 bytes.
        group: Number of its group.
        operstate: IF_OPER_UP or IF_OPER_DORMANT: whether it is used though it has a carrier.
        netns_fd: The namespace to move it to.
        new_name: Its new name.
        inet_conf: Values of IPv4 switches, IPV4_DEVCONF_*: what /proc/sys/net/ipv4/conf shows of the link.

    Raises:
        ValueError: A link given by name is to be renamed, which the protocol cannot say.
    """
    flags = mask = 0
    changes = []
    attrs = b""
    for wanted, flag, verb in ((up, IFF_UP, "up"), (promisc, IFF_PROMISC, "promiscuous")):
        if wanted is not None:
            mask |= flag
            flags |= flag if wanted else 0
            changes.append(verb if wanted else "down" if flag == IFF_UP else f"not {verb}")
    if arp is not None:
        mask |= IFF_NOARP
        flags |= 0 if arp else IFF_NOARP
        changes.append("with ARP" if arp else "without ARP")
    if netns_fd is not None:
        attrs += attr_u32(IFLA_NET_NS_FD, netns_fd)
        changes.append("into another network namespace")
    if mac is not None:
        attrs += attr(IFLA_ADDRESS, mac)
        changes.append(f"address {mac.hex(':')}")
    if mtu is not None:
        attrs += attr_u32(IFLA_MTU, mtu)
        changes.append(f"mtu {mtu}")
    if new_name is not None:
        if isinstance(link, str):
            raise ValueError("a link can be renamed only by its index")
        attrs += attr_string(IFLA_IFNAME, new_name)
        changes.append(f"name {new_name}")
    if alias is not None:
        attrs += attr_string(IFLA_IFALIAS, alias)
        changes.append("alias")
    if group is not None:
        attrs += attr_u32(IFLA_GROUP, group)
        changes.append(f"group {group}")
    if operstate is not None:
        attrs += attr_u8(IFLA_OPERSTATE, operstate)
        changes.append(f"operstate {operstate}")
    if master is not None:
        attrs += attr_u32(IFLA_MASTER, master)
        changes.append(f"master {link_text(master)}" if master else "nomaster")
    if inet_conf:
        conf = attr_nested(IFLA_INET_CONF, *(attr_u32(switch, value) for switch, value in inet_conf.items()))
        attrs += attr_nested(IFLA_AF_SPEC, attr_nested(AF_INET, conf))
        changes.append("IPv4 switches")
    what = f"cannot set {link_text(link)} {', '.join(changes)}"
    return Request(RTM_SETLINK, 0, ifinfo(link, flags, mask) + attrs, what)


def link_set_port(
    link: int | str,
    hairpin: bool | None = None,
    isolated: bool | None = None,
    group_fwd_mask: int | None = None,
    state: int | None = None,
) -> Request:
    """Request changes of a bridge's port; see `BridgePort`. What is None stays as it is.

    As part of a link's own attributes this takes a name, and so fits into the batch that creates the link;
    through AF_BRIDGE it would need the index.
    """
    data = b""
    if state is not None:
        data += attr_u8(IFLA_BRPORT_STATE, state)
    if hairpin is not None:
        data += attr_u8(IFLA_BRPORT_MODE, hairpin)
    if isolated is not None:
        data += attr_u8(IFLA_BRPORT_ISOLATED, isolated)
    if group_fwd_mask is not None:
        data += attr_u16(IFLA_BRPORT_GROUP_FWD_MASK, group_fwd_mask)
    info = attr_nested(
        IFLA_LINKINFO,
        attr_string(IFLA_INFO_SLAVE_KIND, "bridge"),
        attr_nested(IFLA_INFO_SLAVE_DATA, data),
    )
    # RTM_SETLINK passes over IFLA_LINKINFO.
    return Request(RTM_NEWLINK, 0, ifinfo(link) + info, f"cannot set bridge port {link_text(link)}")


def link_del(link: int | str) -> Request:
    """Request that a link be deleted; a veth's peer goes with it.

    The kernel acknowledges after some 20 ms; `teardown.link_del_announced` does not wait for that.
    """
    return Request(RTM_DELLINK, 0, ifinfo(link), f"cannot delete {link_text(link)}")


def link_del_group(group: int) -> Request:
    """Request that all links of a group be deleted: none is, if one cannot be; ENODEV if there is none."""
    return Request(RTM_DELLINK, 0, ifinfo() + attr_u32(IFLA_GROUP, group), f"cannot delete group {group}")


def ifinfo(link: int | str = 0, flags: int = 0, mask: int = 0) -> bytes:
    """Return struct ifinfomsg for a link, with IFLA_IFNAME if it is given by name."""
    if isinstance(link, str):
        return IFINFOMSG.pack(AF_UNSPEC, 0, 0, flags, mask) + attr_string(IFLA_IFNAME, link)
    return IFINFOMSG.pack(AF_UNSPEC, 0, link, flags, mask)


def link_text(link: int | str) -> str:
    """Name a link in an error's sentence."""
    return link if isinstance(link, str) else f"link {link}"


_SKIP_STATS = attr_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)


def _link_get(sock: NetlinkSocket, link: int | str) -> Link | None:
    request = Request(RTM_GETLINK, 0, ifinfo(link) + _SKIP_STATS, f"cannot look up {link_text(link)}")
    try:
        return parse_link(sock.get(request))
    except NetlinkError as error:
        if error.errno == ENODEV:
            return None
        raise
