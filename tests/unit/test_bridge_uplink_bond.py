"""Bonds of uplinks, as a kernel with bonding would describe them."""

import pytest

from shibafu.bridge.resources.uplink_bond import find_active_slave, is_own_bond
from shibafu.cni.names import BOND_GROUP, calc_bond
from shibafu.netlink import constants as c
from shibafu.netlink.codec import attr_nested, attr_string, attr_u8, attr_u32
from shibafu.netlink.link import Link, ifinfo, parse_link


def make_bond(name: str = "bond-br0", group: int = BOND_GROUP, kind: str = "bond", data: bytes = b"") -> Link:
    mode = attr_u8(c.IFLA_BOND_MODE, 1)
    info = attr_nested(
        c.IFLA_LINKINFO, attr_string(c.IFLA_INFO_KIND, kind), attr_nested(c.IFLA_INFO_DATA, mode + data)
    )
    return parse_link(ifinfo(7) + attr_string(c.IFLA_IFNAME, name) + attr_u32(c.IFLA_GROUP, group) + info)


def test_active_slave() -> None:
    assert find_active_slave(make_bond(data=attr_u32(c.IFLA_BOND_ACTIVE_SLAVE, 9))) == 9
    assert find_active_slave(make_bond()) == 0


def test_own_bond() -> None:
    """By name, group and kind together."""
    assert is_own_bond(make_bond(), "br0")
    assert not is_own_bond(make_bond(group=0), "br0")
    assert not is_own_bond(make_bond(kind="bridge"), "br0")
    assert not is_own_bond(make_bond(name="bond0"), "br0")


@pytest.mark.parametrize("bridge", ["br0", "br-lan", "a" * 10, "a" * 11, "b" * 15])
def test_names_fit(bridge: str) -> None:
    assert len(calc_bond(bridge)) <= 15
    assert calc_bond(bridge) != calc_bond(bridge[:-1] + "x")
