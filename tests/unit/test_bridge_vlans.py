"""What ADD asks of the kernel for VLANs, byte for byte, and what it calls gateways' links in them."""

import pytest

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.resources.fabric import calc_bridge
from shibafu.bridge.resources.isolation import calc_gateway_names
from shibafu.bridge.resources.vlans import calc_port_vlans
from shibafu.cni.names import NETWORK_GROUPS, OPEN, STRICT
from shibafu.netlink.codec import attr_u32
from shibafu.netlink.constants import IFLA_GROUP
from shibafu.netlink.vlan import bridge_vlan_add, bridge_vlan_del
from support.calls import make_request

LEAVE_1 = bridge_vlan_del(5, 1)
NATIVE_1 = bridge_vlan_add(5, 1, pvid=True, untagged=True)
NATIVE_7 = bridge_vlan_add(5, 7, pvid=True, untagged=True)
TAGGED_10 = bridge_vlan_add(5, 10)


@pytest.mark.parametrize(
    ("vlan", "trunk", "default", "expected"),
    [
        (7, [], 1, [LEAVE_1, NATIVE_7]),
        (7, [10], 1, [LEAVE_1, NATIVE_7, TAGGED_10]),
        (7, [10], None, [NATIVE_7, TAGGED_10]),
        (7, [7, 10], 1, [LEAVE_1, NATIVE_7, TAGGED_10]),
        # A trunk without a VLAN of its own for untagged frames has 1, as in the reference.
        (0, [10], 1, [NATIVE_1, TAGGED_10]),
        (0, [1, 10], 1, [NATIVE_1, TAGGED_10]),
        (0, [10], None, [NATIVE_1, TAGGED_10]),
        (0, [10], 4, [bridge_vlan_del(5, 4), NATIVE_1, TAGGED_10]),
        (0, [10, 11, 12], 1, [NATIVE_1, bridge_vlan_add(5, 10, 12)]),
    ],
)
def test_requests(vlan: int, trunk: list[int], default: int | None, expected: list[object]) -> None:
    requests = calc_port_vlans(5, vlan, trunk, default)
    assert [(request.type, request.payload) for request in requests] == [
        (request.type, request.payload)  # type: ignore[attr-defined]
        for request in expected
    ]


def test_the_native_vlan_of_a_trunk_in_the_kernel_s_bytes() -> None:
    # flags PVID 2 | UNTAGGED 4, VLAN 1; then VLAN 10 without flags (linux/if_bridge.h).
    native, tagged = calc_port_vlans(5, 0, [10], 1)
    assert native.payload.endswith(bytes([6, 0, 1, 0]))
    assert tagged.payload.endswith(bytes([0, 0, 10, 0]))


@pytest.mark.parametrize(("vlan", "group"), [(0, NETWORK_GROUPS[STRICT]), (100, NETWORK_GROUPS[OPEN])])
def test_the_bridge_is_nobody_s_gateway_where_there_are_vlans(vlan: int, group: int) -> None:
    keys = {"bridge": "br0", "vlan": vlan, "isolate": STRICT, "ipam": {"type": "host-local"}}
    request = calc_bridge(BridgeConfig(make_request(keys)))
    assert attr_u32(IFLA_GROUP, group) in request.payload


def test_names_of_gateways_in_vlans() -> None:
    links = ["lo", "br0", "br0.1", "br0.x", "br0.", "br0.10.20", "eth0.7", "br0.10", "default"]
    assert calc_gateway_names({"br0", "br0.10"}, links) == ["br0.1", "br0.10.20", "br0.10"]
