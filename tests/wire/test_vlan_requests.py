"""Requests about VLANs, as pyroute2 reads them."""

from hypothesis import given
from hypothesis import strategies as st

from shibafu.netlink import constants as c
from shibafu.netlink.vlan import bridge_vlan_add, bridge_vlan_del
from support.pyroute2_view import decode
from wire.strategies import indexes, vids

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
