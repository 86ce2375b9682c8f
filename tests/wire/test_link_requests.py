"""Requests about links, as pyroute2 reads them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from shibafu.netlink import constants as c
from shibafu.netlink.codec import pack_message
from shibafu.netlink.link import parse_link
from shibafu.netlink.link_requests import (
    link_add,
    link_add_bond,
    link_add_bridge,
    link_add_veth,
    link_del,
    link_del_group,
    link_set,
    link_set_bridge,
    link_set_port,
    link_set_tree,
)
from support.pyroute2_view import decode
from wire.strategies import indexes, macs, mtus, names

CREATE = c.NLM_F_CREATE | c.NLM_F_EXCL
links = indexes | names


def header(index: int = 0, flags: int = 0, change: int = 0, family: int = c.AF_UNSPEC) -> dict[str, Any]:
    state = "up" if flags & c.IFF_UP else "down"
    return {
        "family": family,
        "ifi_type": 0,
        "index": index,
        "flags": flags,
        "change": change,
        "state": state,
    }


def mac_text(mac: bytes) -> str:
    return mac.hex(":")


def present(**attrs: object) -> list[tuple[str, Any]]:
    return [(f"IFLA_{name}", value) for name, value in attrs.items() if value is not None]


def address(link: int | str, flags: int = 0, change: int = 0) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Return the header and the first attributes of a request about that link."""
    if isinstance(link, str):
        return header(0, flags, change), [("IFLA_IFNAME", link)]
    return header(link, flags, change), []


@given(names, st.none() | macs, st.none() | mtus, st.booleans(), st.none() | st.booleans())
def test_add_bridge(name: str, mac: bytes | None, mtu: int | None, up: bool, filtering: bool | None) -> None:
    request = link_add_bridge(name, mac, mtu, up, filtering)
    info: list[tuple[str, Any]] = [("IFLA_INFO_KIND", "bridge")]
    if filtering is not None:
        info.append(("IFLA_INFO_DATA", [("IFLA_BR_VLAN_FILTERING", int(filtering))]))
    expected = present(
        IFNAME=name, ADDRESS=mac_text(mac) if mac is not None else None, MTU=mtu, LINKINFO=info
    )
    assert (request.type, request.flags) == (c.RTM_NEWLINK, CREATE)
    assert decode(request) == (header(0, int(up), int(up)), expected)
    assert request.what == f"cannot create bridge {name}"


def test_add_bond() -> None:
    """Byte for byte what pyroute2 sends for these attributes, and NLA_F_NESTED besides."""
    request = link_add_bond("bond0")
    assert pack_message(request.type, request.flags | c.NLM_F_REQUEST | c.NLM_F_ACK, 1, request.payload) == (
        bytes.fromhex(
            "60000000100005060100000000000000000000000000000000000000000000000a000300626f6e6430000000"
            "3400128009000100626f6e64000000002400028005000100010000000800030064000000"
            "05000d00000000000500100003000000"
        )
    )


@given(names, st.none() | st.integers(1, 2**32 - 1))
def test_add_bond_of_a_group(name: str, group: int | None) -> None:
    data = {"MODE": 1, "MIIMON": 100, "FAIL_OVER_MAC": 0, "NUM_PEER_NOTIF": 3}
    info = [
        ("IFLA_INFO_KIND", "bond"),
        ("IFLA_INFO_DATA", [(f"IFLA_BOND_{key}", value) for key, value in data.items()]),
    ]
    request = link_add_bond(name, group)
    assert (request.type, request.flags) == (c.RTM_NEWLINK, CREATE)
    assert decode(request) == (header(), present(IFNAME=name, GROUP=group, LINKINFO=info))


@given(
    names,
    names,
    st.none() | indexes,
    st.none() | macs,
    st.none() | macs,
    st.none() | mtus,
    st.none() | indexes,
    st.booleans(),
)
def test_add_veth(
    name: str,
    peer_name: str,
    fd: int | None,
    mac: bytes | None,
    peer_mac: bytes | None,
    mtu: int | None,
    master: int | None,
    up: bool,
) -> None:
    request = link_add_veth(name, peer_name, fd, mac, peer_mac, mtu, master, up)
    peer = present(
        IFNAME=peer_name,
        ADDRESS=mac_text(peer_mac) if peer_mac is not None else None,
        MTU=mtu,
        NET_NS_FD=fd,
    )
    info = [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", [("VETH_INFO_PEER", peer)])]
    expected = present(
        IFNAME=name,
        ADDRESS=mac_text(mac) if mac is not None else None,
        MTU=mtu,
        MASTER=master,
        LINKINFO=info,
    )
    assert (request.type, request.flags) == (c.RTM_NEWLINK, CREATE)
    assert decode(request) == (header(0, int(up), int(up)), expected)


def test_veth_peer_is_not_up() -> None:
    """The kernel answers ENOTCONN to a pair whose peer is to be up at once."""
    request = link_add_veth("veth1", "eth0")
    message = ifinfmsg(pack_message(request.type, 0, 1, request.payload))
    message.decode()
    peer = message.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", "VETH_INFO_PEER")
    assert (peer["flags"], peer["change"], peer["index"]) == (0, 0, 0)


@given(names)
def test_add_of_any_kind(name: str) -> None:
    info = [("IFLA_INFO_KIND", "ifb")]
    assert decode(link_add(name, "ifb", up=False)) == (header(), present(IFNAME=name, LINKINFO=info))


@given(
    links,
    st.none() | st.booleans(),
    st.none() | st.booleans(),
    st.none() | st.booleans(),
    st.none() | mtus,
    st.none() | st.integers(0, 2**32 - 1),
    st.none() | macs,
    st.none() | st.integers(0, 2**31 - 1),
    st.none() | names,
    st.none() | st.integers(0, 2**32 - 1),
    st.none() | st.sampled_from([c.IF_OPER_DORMANT, c.IF_OPER_UP]),
    st.none() | indexes,
)
def test_set(
    link: int | str,
    up: bool | None,
    promisc: bool | None,
    allmulti: bool | None,
    mtu: int | None,
    txqlen: int | None,
    mac: bytes | None,
    master: int | None,
    alias: str | None,
    group: int | None,
    operstate: int | None,
    fd: int | None,
) -> None:
    request = link_set(
        link,
        up=up,
        promisc=promisc,
        allmulti=allmulti,
        mtu=mtu,
        txqlen=txqlen,
        mac=mac,
        master=master,
        alias=alias,
        group=group,
        operstate=operstate,
        netns_fd=fd,
    )
    switches = ((c.IFF_UP, up), (c.IFF_PROMISC, promisc), (c.IFF_ALLMULTI, allmulti))
    change = sum(flag for flag, wanted in switches if wanted is not None)
    flags = sum(flag for flag, wanted in switches if wanted)
    fields, attrs = address(link, flags, change)
    text = mac_text(mac) if mac is not None else None
    attrs += present(NET_NS_FD=fd, ADDRESS=text, MTU=mtu, TXQLEN=txqlen, IFALIAS=alias, GROUP=group)
    attrs += present(OPERSTATE=operstate and {5: "DORMANT", 6: "UP"}[operstate], MASTER=master)
    assert (request.type, request.flags) == (c.RTM_SETLINK, 0)
    assert decode(request) == (fields, attrs)


@pytest.mark.parametrize("wanted", [False, True])
def test_set_arp_notify(wanted: bool) -> None:
    """As inet_set_link_af in net/ipv4/devinet.c reads it; pyroute2 knows only what the kernel sends."""
    fields, [(name, [(family, conf)])] = decode(link_set(3, inet_conf={c.IPV4_DEVCONF_ARP_NOTIFY: wanted}))
    assert (fields, name, family) == (header(3), "IFLA_AF_SPEC", "AF_INET")
    switch = bytes([8, 0, c.IPV4_DEVCONF_ARP_NOTIFY, 0, wanted, 0, 0, 0])
    nested = 0x80  # the upper byte of NLA_F_NESTED
    assert conf == bytes([16, 0, c.AF_INET, nested, 12, 0, c.IFLA_INET_CONF, nested]) + switch


@given(indexes, names)
def test_rename(index: int, name: str) -> None:
    assert decode(link_set(index, new_name=name)) == (header(index), [("IFLA_IFNAME", name)])
    with pytest.raises(ValueError, match="only by its index"):
        link_set("veth1", new_name=name)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"up": True}, "cannot set veth1 up"),
        ({"up": False}, "cannot set veth1 down"),
        ({"promisc": False}, "cannot set veth1 not promiscuous"),
        ({"allmulti": True, "txqlen": 7}, "cannot set veth1 allmulticast, txqueuelen 7"),
        ({"mtu": 1400, "master": 0}, "cannot set veth1 mtu 1400, nomaster"),
        ({"master": 3}, "cannot set veth1 master link 3"),
        ({"mac": b"\2\0\0\0\0\1"}, "cannot set veth1 address 02:00:00:00:00:01"),
        ({"alias": "x"}, "cannot set veth1 alias"),
        ({"group": 7}, "cannot set veth1 group 7"),
        ({"operstate": c.IF_OPER_DORMANT}, "cannot set veth1 operstate 5"),
        ({"netns_fd": 5}, "cannot set veth1 into another network namespace"),
        ({"up": True, "inet_conf": {c.IPV4_DEVCONF_ARP_NOTIFY: 1}}, "cannot set veth1 up, IPv4 switches"),
    ],
)
def test_set_says_what_it_is_about(changes: dict[str, Any], what: str) -> None:
    assert link_set("veth1", **changes).what == what


@given(links, st.none() | st.booleans(), st.none() | st.booleans(), st.none() | st.integers(0, 0xFFFF))
def test_set_port(link: int | str, hairpin: bool | None, isolated: bool | None, mask: int | None) -> None:
    request = link_set_port(link, hairpin, isolated, mask)
    wanted = {
        "IFLA_BRPORT_MODE": hairpin,
        "IFLA_BRPORT_ISOLATED": isolated,
        "IFLA_BRPORT_GROUP_FWD_MASK": mask,
    }
    data = [(name, int(value)) for name, value in wanted.items() if value is not None]
    fields, attrs = address(link)
    info = [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", data)]
    assert (request.type, request.flags) == (c.RTM_NEWLINK, 0)
    assert decode(request) == (fields, [*attrs, ("IFLA_LINKINFO", info)])


@given(links, st.booleans())
def test_set_bridge(link: int | str, nf_call: bool) -> None:
    request = link_set_bridge(link, nf_call)
    fields, attrs = address(link)
    data = present(BR_NF_CALL_IPTABLES=int(nf_call), BR_NF_CALL_IP6TABLES=int(nf_call))
    info = [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", data)]
    assert (request.type, request.flags) == (c.RTM_NEWLINK, 0)
    assert decode(request) == (fields, [*attrs, ("IFLA_LINKINFO", info)])


@given(links)
def test_del(link: int | str) -> None:
    request = link_del(link)
    assert (request.type, request.flags) == (c.RTM_DELLINK, 0)
    assert decode(request) == address(link)


@given(st.integers(1, 2**31 - 1))
def test_del_group(group: int) -> None:
    request = link_del_group(group)
    assert (request.type, request.flags) == (c.RTM_DELLINK, 0)
    assert decode(request) == (header(), present(GROUP=group))


@given(indexes, names, macs, mtus, st.integers(-1, 2**31 - 1), st.booleans())
def test_parse_what_pyroute2_encodes(
    index: int, name: str, mac: bytes, mtu: int, netnsid: int, hairpin: bool
) -> None:
    message = ifinfmsg()
    message["index"] = index
    message["flags"] = c.IFF_UP | hairpin * (c.IFF_PROMISC | c.IFF_ALLMULTI)
    message["attrs"] = [
        ("IFLA_IFNAME", name),
        ("IFLA_ADDRESS", mac_text(mac)),
        ("IFLA_MTU", mtu),
        ("IFLA_MASTER", 9),
        ("IFLA_TXQLEN", 77),
        ("IFLA_LINK", 4),
        ("IFLA_LINK_NETNSID", netnsid),
        ("IFLA_IFALIAS", "an alias"),
        ("IFLA_GROUP", mtu),
        ("IFLA_OPERSTATE", "UP"),
        (
            "IFLA_LINKINFO",
            {
                "attrs": [
                    ("IFLA_INFO_KIND", "bridge"),
                    (
                        "IFLA_INFO_DATA",
                        {"attrs": [("IFLA_BR_VLAN_FILTERING", 1), ("IFLA_BR_VLAN_DEFAULT_PVID", 5)]},
                    ),
                    ("IFLA_INFO_SLAVE_KIND", "bridge"),
                    (
                        "IFLA_INFO_SLAVE_DATA",
                        {
                            "attrs": [
                                ("IFLA_BRPORT_STATE", 3),
                                ("IFLA_BRPORT_MODE", int(hairpin)),
                                ("IFLA_BRPORT_ISOLATED", int(not hairpin)),
                                ("IFLA_BRPORT_GROUP_FWD_MASK", 0x4001),
                            ]
                        },
                    ),
                ]
            },
        ),
    ]
    message.encode()
    link = parse_link(bytes(message.data)[16:])
    assert (link.index, link.name, link.mac, link.mtu) == (index, name, mac, mtu)
    assert (link.master, link.peer, link.link_netnsid, link.alias) == (9, 4, netnsid, "an alias")
    assert (link.promisc, link.allmulti, link.txqlen) == (hairpin, hairpin, 77)
    assert (link.up, link.operstate, link.kind, link.group) == (True, 6, "bridge", mtu)
    assert (link.vlan_filtering, link.vlan_default_pvid) == (True, 5)
    assert link.port is not None
    assert (link.port.state, link.port.hairpin, link.port.isolated) == (3, hairpin, not hairpin)
    assert link.port.group_fwd_mask == 0x4001


def test_parse_the_least() -> None:
    message = ifinfmsg()
    message["index"] = 1
    message.encode()
    link = parse_link(bytes(message.data)[16:])
    assert (link.index, link.name, link.kind, link.mac, link.port) == (1, "", "", b"", None)
    assert link.group == 0
    assert (link.link_netnsid, link.vlan_filtering, link.vlan_default_pvid) == (-1, None, None)


@given(links, st.booleans(), st.none() | st.integers(0, 61440), st.none() | st.integers(1, 4000))
def test_set_tree(link: int | str, is_on: bool, priority: int | None, time: int | None) -> None:
    """Times are hundredths of a second, of which the kernel takes 200 at least for a delay."""
    request = link_set_tree(link, is_on, priority, time, time, time)
    times = {"FORWARD_DELAY": time, "HELLO_TIME": time, "MAX_AGE": time}
    data = {key: value for key, value in times.items() if value is not None} | {"STP_STATE": int(is_on)}
    data |= {} if priority is None else {"PRIORITY": priority}
    info = [
        ("IFLA_INFO_KIND", "bridge"),
        ("IFLA_INFO_DATA", [(f"IFLA_BR_{key}", value) for key, value in data.items()]),
    ]
    head, first = address(link)
    assert request.type == c.RTM_NEWLINK
    assert decode(request) == (head, [*first, ("IFLA_LINKINFO", info)])
