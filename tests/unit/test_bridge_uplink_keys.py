"""Keys of uplinks: what is refused, and what they come to."""

from typing import Any

import pytest

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.uplink_keys import UplinkKeys, parse_uplink_keys
from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, CniError
from support.calls import make_request


def parse(**keys: Any) -> UplinkKeys | None:
    return parse_uplink_keys(Section(keys, "NetConf"))


def test_without_uplinks_nothing_is_stated() -> None:
    assert parse() is None
    assert parse(uplinks=[]) is None


def test_defaults() -> None:
    keys = parse(uplinks=["eth1", "eth2"])
    assert keys is not None
    assert (keys.links, keys.mode, keys.probe, keys.is_probed, keys.is_reselected) == (
        ("eth1", "eth2"),
        "active-backup",
        None,
        True,
        False,
    )


def test_they_are_compared_by_value() -> None:
    stated = {"uplinks": ["eth1", "eth2"], "uplinkProbe": "10.7.0.1"}
    assert parse(**stated) == parse(**stated)
    assert parse(**stated) != parse(**stated, primaryReselect="always")
    assert parse(**stated) == parse(**stated, uplinkMode="active-backup")
    assert parse(**stated) != parse(**stated | {"uplinkProbe": "10.7.0.2"})
    assert parse(uplinks=["eth1"]) != parse(uplinks=["eth1"], uplinkMode="bond")
    assert parse(**stated) != parse(**stated | {"uplinks": ["eth2", "eth1"]})


def test_stated() -> None:
    keys = parse(uplinks=["eth1"], uplinkProbe="10.7.0.1", primaryReselect="always")
    assert keys is not None
    assert (keys.probe, keys.is_probed, keys.is_reselected) == (bytes((10, 7, 0, 1)), True, True)
    unprobed = parse(uplinks=["eth1"], uplinkProbe="none")
    assert unprobed is not None
    assert not unprobed.is_probed


@pytest.mark.parametrize(
    ("keys", "msg"),
    [
        ({"uplinkProbe": "10.7.0.1"}, "uplinkProbe needs uplinks"),
        ({"primaryReselect": "always"}, "primaryReselect needs uplinks"),
        ({"uplinkMode": "bond"}, "uplinkMode needs uplinks"),
        ({"uplinks": ["eth1"], "uplinkMode": "lacp"}, 'invalid uplinkMode "lacp"'),
        (
            {"uplinks": ["eth1"], "uplinkMode": "bond", "uplinkProbe": "10.7.0.1"},
            "uplinkProbe has no effect with uplinkMode bond: the kernel chooses the active uplink",
        ),
        (
            {"uplinks": ["eth1"], "uplinkMode": "stp", "uplinkProbe": "none"},
            "uplinkProbe has no effect with uplinkMode stp: the kernel chooses the active uplink",
        ),
        (
            {"uplinks": ["eth1"], "uplinkMode": "bond", "primaryReselect": "failure"},
            "primaryReselect has no effect with uplinkMode bond: the kernel chooses the active uplink",
        ),
        ({"uplinks": ["eth1", "eth1"]}, "an uplink is stated twice"),
        ({"uplinks": ["../eth1"]}, 'invalid uplink "../eth1"'),
        ({"uplinks": ["cni0"]}, 'invalid uplink "cni0"'),
        ({"uplinks": ["lo"]}, 'invalid uplink "lo"'),
        ({"uplinks": ["eth1"], "internal": True}, "a network with internal cannot have uplinks"),
        ({"uplinks": ["eth1"], "vlan": 5}, "a network with vlan cannot have uplinks"),
        ({"uplinks": ["eth1"], "uplinkProbe": "fd07::1"}, 'invalid uplinkProbe "fd07::1"'),
        ({"uplinks": ["eth1"], "uplinkProbe": "0.0.0.0"}, 'invalid uplinkProbe "0.0.0.0"'),  # noqa: S104
        ({"uplinks": ["eth1"], "uplinkProbe": "127.0.0.1"}, 'invalid uplinkProbe "127.0.0.1"'),
        ({"uplinks": ["eth1"], "uplinkProbe": "224.0.0.1"}, 'invalid uplinkProbe "224.0.0.1"'),
        ({"uplinks": ["eth1"], "primaryReselect": "never"}, 'invalid primaryReselect "never"'),
    ],
)
def test_refused(keys: dict[str, Any], msg: str) -> None:
    with pytest.raises(CniError) as caught:
        parse(**keys)
    assert (caught.value.code, caught.value.msg) == (INVALID_CONFIG, msg)


@pytest.mark.parametrize(
    ("keys", "msg"),
    [
        ({}, "moveAddresses needs uplinks"),
        (
            {"uplinks": ["eth1"], "isGateway": True, "gatewayHA": "vrrp"},
            "a network with gatewayHA cannot take over the addresses of its uplinks",
        ),
        (
            {"uplinks": ["eth1"], "uplinkMode": "stp"},
            "uplinkMode stp would make the addresses of uplinks unreachable for a while",
        ),
    ],
)
def test_movement_refused(keys: dict[str, Any], msg: str) -> None:
    with pytest.raises(CniError) as caught:
        BridgeConfig(make_request(keys | {"moveAddresses": True}))
    assert (caught.value.code, caught.value.msg) == (INVALID_CONFIG, msg)
