"""Requests about VXLAN interfaces, as pyroute2 reads them."""

from ipaddress import ip_address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shibafu.netlink import constants as c
from shibafu.netlink.codec import attr, attr_nested, attr_string
from shibafu.netlink.link import ifinfo, parse_link
from shibafu.netlink.vxlan import Vxlan, link_add_vxlan, parse_vxlan
from support.pyroute2_view import decode
from wire.strategies import indexes, ips, macs, mtus, names

vxlans = st.builds(
    Vxlan,
    st.integers(0, 2**24 - 1),
    indexes,
    ips,
    st.integers(1, 65535),
    st.booleans(),
    st.booleans(),
)


@given(names, vxlans, macs, mtus)
def test_add(name: str, vxlan: Vxlan, mac: bytes, mtu: int) -> None:
    request = link_add_vxlan(name, vxlan, mac, mtu)
    local = "IFLA_VXLAN_LOCAL" if len(vxlan.local) == 4 else "IFLA_VXLAN_LOCAL6"
    data: list[tuple[str, Any]] = [
        ("IFLA_VXLAN_ID", vxlan.vni),
        ("IFLA_VXLAN_LINK", vxlan.link),
        (local, str(ip_address(vxlan.local))),
        ("IFLA_VXLAN_LEARNING", int(vxlan.learning)),
        ("IFLA_VXLAN_PORT", vxlan.port),
    ]
    data += [("IFLA_VXLAN_GBP", True)] if vxlan.gbp else []
    _, attrs = decode(request)
    assert (request.type, request.flags) == (c.RTM_NEWLINK, c.NLM_F_CREATE | c.NLM_F_EXCL)
    info = [("IFLA_INFO_KIND", "vxlan"), ("IFLA_INFO_DATA", data)]
    assert attrs == [
        ("IFLA_IFNAME", name),
        ("IFLA_ADDRESS", mac.hex(":")),
        ("IFLA_MTU", mtu),
        ("IFLA_LINKINFO", info),
    ]


@given(vxlans, macs)
def test_what_is_asked_for_is_read(vxlan: Vxlan, mac: bytes) -> None:
    """The kernel answers in the same words."""
    assert parse_vxlan(parse_link(link_add_vxlan("v", vxlan, mac, 1450).payload)) == vxlan


def test_other_kinds_are_none() -> None:
    info = attr_string(c.IFLA_INFO_KIND, "bridge") + attr_nested(
        c.IFLA_INFO_DATA, attr(c.IFLA_VXLAN_ID, bytes(4))
    )
    assert parse_vxlan(parse_link(ifinfo() + attr_nested(c.IFLA_LINKINFO, info))) is None
