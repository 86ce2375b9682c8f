"""Network interfaces, as the kernel reports them.

A parameter `link` is an interface's index or its name.
"""

from errno import ENODEV
from struct import Struct

from shibafu.netlink.codec import (
    attr_nested,
    attr_string,
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
    IFF_ALLMULTI,
    IFF_PROMISC,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_AF_SPEC,
    IFLA_BR_NF_CALL_IP6TABLES,
    IFLA_BR_NF_CALL_IPTABLES,
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
    IFLA_OPERSTATE,
    IFLA_TXQLEN,
    RTEXT_FILTER_SKIP_STATS,
    RTM_GETLINK,
)
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

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
        peer: Index of the other end of a veth pair, or of the lower interface of a VLAN or VXLAN; 0 if none.
        link_netnsid: The namespace of the peer, as numbered in the link's own; -1 if it is the same one.
        alias: A text for people.
        operstate: IF_OPER_*.
        group: Number of the group that rules may name; 0 by default.
        info_data: Attributes of its kind, encoded; see `data`.
        port: State as a port of a bridge; None if it is none.
        af_spec: Its switches by family, encoded; see `inet_conf`, which decodes them when it is first asked.
        txqlen: How many packets may wait to be sent.
    """

    __slots__ = (
        "_switches",
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
        "txqlen",
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
        txqlen: int = 0,
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
        self._switches: dict[int, bytes] = {}
        self.txqlen = txqlen

    @property
    def up(self) -> bool:
        """Whether the link is administratively up."""
        return bool(self.flags & IFF_UP)

    @property
    def promisc(self) -> bool:
        """Whether the link was set to take frames for every address; capturing packets does not set it."""
        return bool(self.flags & IFF_PROMISC)

    @property
    def allmulti(self) -> bool:
        """Whether the link was set to take frames for every group."""
        return bool(self.flags & IFF_ALLMULTI)

    @property
    def data(self) -> dict[int, bytes]:
        """Attributes of a bridge, a bond, a VLAN or a VXLAN, such as IFLA_BR_* and IFLA_VLAN_*.

        Other kinds are none of ours, and a driver outside the kernel may put anything there.
        """
        # Here and not when a link is decoded: a bridge has 50 of them, and hardly anybody asks.
        return parse_attrs(self.info_data) if self.kind in ("bridge", "bond", "vlan", "vxlan") else {}

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

    @property
    def nf_call(self) -> bool:
        """Whether a bridge by itself has netfilter see what it forwards, in both families."""
        data = self.data
        return self.kind == "bridge" and all(
            data.get(key, b"\0") != b"\0" for key in (IFLA_BR_NF_CALL_IPTABLES, IFLA_BR_NF_CALL_IP6TABLES)
        )

    def inet_conf(self, switch: int) -> int | None:
        """Return an IPv4 switch, IPV4_DEVCONF_*: as in /proc/sys/net/ipv4/conf; None if there is none."""
        return self._conf(AF_INET, IFLA_INET_CONF, switch - 1)

    def inet6_conf(self, switch: int) -> int | None:
        """Return an IPv6 switch, DEVCONF_*: as in /proc/sys/net/ipv6/conf; None if there is none."""
        return self._conf(AF_INET6, IFLA_INET6_CONF, switch)

    def _conf(self, family: int, kind: int, place: int) -> int | None:
        if family not in self._switches:
            self._switches[family] = parse_attrs(parse_attrs(self.af_spec).get(family, b"")).get(kind, b"")
        value = self._switches[family][4 * place : 4 * place + 4]
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
        parse_int(attrs.get(IFLA_TXQLEN, zero), 4),
    )


def link_by_name(sock: NetlinkSocket, name: str) -> Link | None:
    """Return the link of that name, or None if there is none."""
    return _link_get(sock, name)


def link_by_index(sock: NetlinkSocket, index: int) -> Link | None:
    """Return the link of that index, or None if there is none."""
    return _link_get(sock, index)


def link_peer(sock: NetlinkSocket, link: Link) -> Link | None:
    """Return the other end of a veth pair; None if that is not in the socket's namespace.

    It is the link whose number one end names, and that names this one: in different namespaces links have the
    same numbers, and two pairs may have both in common.

    Args:
        sock: a socket of the namespace that the other end may be in.
        link: one end, in that namespace or another one.
    """
    other = link_by_index(sock, link.peer) if link.kind == "veth" and link.peer else None
    return other if other is not None and (other.kind, other.peer) == ("veth", link.index) else None


def link_list(sock: NetlinkSocket, master: int | None = None, kind: str | None = None) -> list[Link]:
    """Return all links, or those of a bridge, or of a kind. The kernel filters."""
    payload = ifinfo() + _SKIP_STATS
    if master is not None:
        payload += attr_u32(IFLA_MASTER, master)
    if kind is not None:
        payload += attr_nested(IFLA_LINKINFO, attr_string(IFLA_INFO_KIND, kind))
    links = [
        parse_link(entry) for entry in sock.dump(NetlinkRequest(RTM_GETLINK, 0, payload, "cannot list links"))
    ]
    # The kernel does not filter by a kind whose module is not loaded.
    return [
        link
        for link in links
        if (master is None or link.master == master) and (kind is None or link.kind == kind)
    ]


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
    request = NetlinkRequest(RTM_GETLINK, 0, ifinfo(link) + _SKIP_STATS, f"cannot look up {link_text(link)}")
    try:
        return parse_link(sock.get(request))
    except NetlinkError as error:
        if error.errno == ENODEV:
            return None
        raise
