"""Requests about VLANs, as pyroute2 reads them."""

from hypothesis import given
from hypothesis import strategies as st

from shibafu.netlink import constants as c
from shibafu.netlink.vlan import bridge_vlan_add, bridge_vlan_del, link_add_vlan
from support.pyroute2_view import decode
from wire.strategies import indexes, macs, mtus, names, vids

PVID, UNTAGGED = c.BRIDGE_VLAN_INFO_PVID, c.BRIDGE_VLAN_INFO_UNTAGGED
BEGIN, END = c.BRIDGE_VLAN_INFO_RANGE_BEGIN, c.BRIDGE_VLAN_INFO_RANGE_END


@given(indexes, vids, st.booleans(), st.booleans(), st.booleans())
def test_add_one(index: int, vid: int, pvid: bool, untagged: bool, self_: bool) -> None:
    request = bridge_vlan_add(index, vid, pvid=pvid, untagged=untagged, self_=self_)
    spec: list[tuple[str, object]] = [("IFLA_BRIDGE_VLAN_FLAGS", c.BRIDGE_FLAGS_SELF)] if self_ else []
    spec.append(("IFLA_BRIDGE_VLAN_INFO", {"flags": pvid * PVID + untagged * UNTAGGED, "vid": vid}))
    fields, attrs = decode(request)
    assert (request.type, request.flags) == (c.RTM_SETLINK, 0)
    assert (fields["family"], fields["index"]) == (c.AF_BRIDGE, index)
    assert attrs == [("IFLA_AF_SPEC", spec)]


@given(indexes, st.integers(1, 4000), st.integers(1, 94), st.booleans())
def test_add_range(index: int, vid: int, more: int, untagged: bool) -> None:
    request = bridge_vlan_add(index, vid, vid + more, untagged=untagged)
    flags = untagged * UNTAGGED
    _, attrs = decode(request)
    assert attrs == [
        (
            "IFLA_AF_SPEC",
            [
                ("IFLA_BRIDGE_VLAN_INFO", {"flags": flags | BEGIN, "vid": vid}),
                ("IFLA_BRIDGE_VLAN_INFO", {"flags": flags | END, "vid": vid + more}),
            ],
        )
    ]
    assert request.what == f"cannot add VLAN {vid}-{vid + more} on link {index}"


@given(indexes, vids)
def test_range_of_one_is_one(index: int, vid: int) -> None:
    assert bridge_vlan_add(index, vid, vid).payload == bridge_vlan_add(index, vid).payload


@given(indexes, vids, st.booleans())
def test_del(index: int, vid: int, self_: bool) -> None:
    request = bridge_vlan_del(index, vid, self_=self_)
    assert request.type == c.RTM_DELLINK
    assert request.payload == bridge_vlan_add(index, vid, self_=self_).payload
    assert request.what == f"cannot delete VLAN {vid} on link {index}"


@given(names, indexes, vids, st.none() | macs, st.none() | mtus, st.booleans())
def test_add_vlan_link(
    name: str, parent: int, vid: int, mac: bytes | None, mtu: int | None, up: bool
) -> None:
    request = link_add_vlan(name, parent, vid, mac, mtu, up)
    fields, attrs = decode(request)
    expected: list[tuple[str, object]] = [("IFLA_IFNAME", name), ("IFLA_LINK", parent)]
    if mac is not None:
        expected.append(("IFLA_ADDRESS", mac.hex(":")))
    if mtu is not None:
        expected.append(("IFLA_MTU", mtu))
    info = [("IFLA_INFO_KIND", "vlan"), ("IFLA_INFO_DATA", [("IFLA_VLAN_ID", vid)])]
    assert (request.type, request.flags) == (c.RTM_NEWLINK, c.NLM_F_CREATE | c.NLM_F_EXCL)
    assert (fields["flags"], fields["change"]) == (int(up), int(up))
    assert attrs == [*expected, ("IFLA_LINKINFO", info)]
