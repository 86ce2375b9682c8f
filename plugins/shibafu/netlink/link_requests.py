"""Requests that make, change and delete network interfaces.

A parameter `link` is an interface's index or its name.
"""

from shibafu.netlink.codec import (
    attr,
    attr_nested,
    attr_string,
    attr_u8,
    attr_u16,
    attr_u32,
)
from shibafu.netlink.constants import (
    AF_INET,
    BOND_ACTIVE_BACKUP,
    IFF_ALLMULTI,
    IFF_NOARP,
    IFF_PROMISC,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_AF_SPEC,
    IFLA_BOND_FAIL_OVER_MAC,
    IFLA_BOND_MIIMON,
    IFLA_BOND_MODE,
    IFLA_BOND_NUM_PEER_NOTIF,
    IFLA_BR_FORWARD_DELAY,
    IFLA_BR_HELLO_TIME,
    IFLA_BR_MAX_AGE,
    IFLA_BR_NF_CALL_IP6TABLES,
    IFLA_BR_NF_CALL_IPTABLES,
    IFLA_BR_PRIORITY,
    IFLA_BR_STP_STATE,
    IFLA_BR_VLAN_FILTERING,
    IFLA_BRPORT_GROUP_FWD_MASK,
    IFLA_BRPORT_ISOLATED,
    IFLA_BRPORT_MODE,
    IFLA_BRPORT_STATE,
    IFLA_GROUP,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_INET_CONF,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_INFO_SLAVE_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_NET_NS_FD,
    IFLA_OPERSTATE,
    IFLA_TXQLEN,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_DELLINK,
    RTM_NEWLINK,
    RTM_SETLINK,
    VETH_INFO_PEER,
)
from shibafu.netlink.link import ifinfo, link_text
from shibafu.netlink.socket import NetlinkRequest


def link_add_bridge(
    name: str,
    mac: bytes | None = None,
    mtu: int | None = None,
    up: bool = True,
    vlan_filtering: bool | None = None,
    group: int | None = None,
) -> NetlinkRequest:
    """Request a new bridge. One that gets its MAC here keeps it when ports come and go."""
    data = b"" if vlan_filtering is None else attr_u8(IFLA_BR_VLAN_FILTERING, vlan_filtering)
    return link_add(name, "bridge", data, mac=mac, mtu=mtu, up=up, group=group)


def link_add_bond(name: str, group: int | None = None) -> NetlinkRequest:
    """Request a new bond of which one slave is active, and another one once that has lost its carrier.

    It is down, as its slaves have to be when they come. Carriers are read every 100 ms, all slaves get the
    bond's hardware address, and neighbours are told three times of a new active slave
    (Documentation/networking/bonding.rst).
    """
    data = attr_u8(IFLA_BOND_MODE, BOND_ACTIVE_BACKUP) + attr_u32(IFLA_BOND_MIIMON, 100)
    data += attr_u8(IFLA_BOND_FAIL_OVER_MAC, 0) + attr_u8(IFLA_BOND_NUM_PEER_NOTIF, 3)
    return link_add(name, "bond", data, up=False, group=group)


def link_add_veth(
    name: str,
    peer_name: str,
    peer_netns_fd: int | None = None,
    mac: bytes | None = None,
    peer_mac: bytes | None = None,
    mtu: int | None = None,
    master: int | None = None,
    up: bool = True,
) -> NetlinkRequest:
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
    up: bool = True,
    group: int | None = None,
    txqlen: int | None = None,
) -> NetlinkRequest:
    """Request a new link of any kind.

    Args:
        name: Its name.
        kind: As in `Link`.
        data: Encoded attributes of the kind.
        mac: None for the kernel's choice.
        mtu: In bytes; None for the kernel's choice.
        master: Index of the bridge to attach it to.
        up: Whether to set it up.
        group: Number of its group; None for 0.
        txqlen: How many packets it queues; None for the kernel's choice.
    """
    payload = ifinfo(name, IFF_UP if up else 0, IFF_UP if up else 0)
    if mac is not None:
        payload += attr(IFLA_ADDRESS, mac)
    if mtu is not None:
        payload += attr_u32(IFLA_MTU, mtu)
    if master is not None:
        payload += attr_u32(IFLA_MASTER, master)
    if group is not None:
        payload += attr_u32(IFLA_GROUP, group)
    if txqlen is not None:
        payload += attr_u32(IFLA_TXQLEN, txqlen)
    info = attr_string(IFLA_INFO_KIND, kind)
    if data:
        info += attr_nested(IFLA_INFO_DATA, data)
    payload += attr_nested(IFLA_LINKINFO, info)
    return NetlinkRequest(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, payload, f"cannot create {kind} {name}")


def link_set(
    link: int | str,
    *,
    up: bool | None = None,
    promisc: bool | None = None,
    allmulti: bool | None = None,
    arp: bool | None = None,
    mtu: int | None = None,
    txqlen: int | None = None,
    mac: bytes | None = None,
    master: int | None = None,
    alias: str | None = None,
    group: int | None = None,
    operstate: int | None = None,
    netns_fd: int | None = None,
    new_name: str | None = None,
    inet_conf: dict[int, int] | None = None,
) -> NetlinkRequest:
    """Request changes of a link. What is None stays as it is.

    Args:
        link: Index or name; an index if it is to be renamed.
        up: Whether the link is up.
        promisc: Whether the link takes all frames.
        allmulti: Whether the link takes the frames of all groups.
        arp: Whether neighbours are asked for their hardware addresses, and answered.
        mtu: In bytes.
        txqlen: How many packets may wait to be sent.
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
    switches = (
        (up, IFF_UP, "up"),
        (promisc, IFF_PROMISC, "promiscuous"),
        (allmulti, IFF_ALLMULTI, "allmulticast"),
    )
    for wanted, flag, verb in switches:
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
    if txqlen is not None:
        attrs += attr_u32(IFLA_TXQLEN, txqlen)
        changes.append(f"txqueuelen {txqlen}")
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
    return NetlinkRequest(RTM_SETLINK, 0, ifinfo(link, flags, mask) + attrs, what)


def link_set_port(
    link: int | str,
    hairpin: bool | None = None,
    isolated: bool | None = None,
    group_fwd_mask: int | None = None,
    state: int | None = None,
) -> NetlinkRequest:
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
    return NetlinkRequest(RTM_NEWLINK, 0, ifinfo(link) + info, f"cannot set bridge port {link_text(link)}")


def link_set_bridge(link: int | str, nf_call: bool) -> NetlinkRequest:
    """Request that netfilter sees what a bridge forwards, or only does where sysctls of the host say so."""
    data = attr_u8(IFLA_BR_NF_CALL_IPTABLES, nf_call) + attr_u8(IFLA_BR_NF_CALL_IP6TABLES, nf_call)
    return _set_bridge(link, data)


def link_set_tree(
    link: int | str,
    is_on: bool,
    priority: int | None = None,
    forward_delay: int | None = None,
    max_age: int | None = None,
    hello_time: int | None = None,
) -> NetlinkRequest:
    """Request that a bridge takes part in STP, or no longer does. What is None stays as it is.

    Args:
        link: the bridge.
        is_on: whether it does.
        priority: the bridge with the lowest one is the root; a multiple of 4096.
        forward_delay: for how long a port listens, and for how long it learns, in hundredths of a second.
        max_age: after which time without news of the root another one is chosen, likewise.
        hello_time: between such news, likewise.
    """
    times = {
        IFLA_BR_FORWARD_DELAY: forward_delay,
        IFLA_BR_HELLO_TIME: hello_time,
        IFLA_BR_MAX_AGE: max_age,
    }
    data = b"".join(attr_u32(kind, value) for kind, value in times.items() if value is not None)
    data += attr_u32(IFLA_BR_STP_STATE, is_on)
    if priority is not None:
        data += attr_u16(IFLA_BR_PRIORITY, priority)
    return _set_bridge(link, data)


def _set_bridge(link: int | str, data: bytes) -> NetlinkRequest:
    info = attr_nested(
        IFLA_LINKINFO, attr_string(IFLA_INFO_KIND, "bridge"), attr_nested(IFLA_INFO_DATA, data)
    )
    return NetlinkRequest(RTM_NEWLINK, 0, ifinfo(link) + info, f"cannot set bridge {link_text(link)}")


def link_del(link: int | str) -> NetlinkRequest:
    """Request that a link be deleted; a veth's peer goes with it.

    The kernel acknowledges after some 20 ms; `link_removal.link_del_announced` does not wait for that.
    """
    return NetlinkRequest(RTM_DELLINK, 0, ifinfo(link), f"cannot delete {link_text(link)}")


def link_del_group(group: int) -> NetlinkRequest:
    """Request that all links of a group be deleted: none is, if one cannot be; ENODEV if there is none."""
    return NetlinkRequest(
        RTM_DELLINK, 0, ifinfo() + attr_u32(IFLA_GROUP, group), f"cannot delete group {group}"
    )
