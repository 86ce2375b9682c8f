"""What a network is made of: names, options, conflists."""

from ipaddress import ip_network
from typing import Any

import pytest

from shibafu.cni.errors import CniError
from shibafu.networks.errors import CommandError, UsageError
from shibafu.networks.spec import (
    NetworkSpec,
    Subnet,
    calc_bridge_name,
    calc_conflist,
    check_spec,
    parse_option,
    parse_spec,
    require_network_name,
)
from support.networks import SPECS


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_conflist_says_what_the_network_is(spec: NetworkSpec) -> None:
    check_spec(spec)
    conflist = calc_conflist(spec)
    assert parse_spec(conflist["name"], conflist["plugins"]) == spec


def test_an_internal_network_has_no_gateway() -> None:
    plugin = calc_conflist(SPECS[2])["plugins"][0]
    assert not {"isGateway", "isDefaultGateway", "ipMasq"} & plugin.keys()
    assert plugin.pop("internal")
    # As earlier versions wrote it.
    assert parse_spec("cell", [plugin]) == SPECS[2]


def test_old_runtimes_get_an_old_version_and_new_ones_choose() -> None:
    conflist = calc_conflist(SPECS[0])
    assert (conflist["cniVersion"], conflist["cniVersions"][-1]) == ("0.4.0", "1.1.0")


@pytest.mark.parametrize(
    "change", [{"type": "bridge"}, {"dns": {}}, {"ipam": {"type": "dhcp"}}, {"vlan": "7"}]
)
def test_what_cannot_be_stated_is_not_taken_for_stated(change: dict[str, Any]) -> None:
    plugin = calc_conflist(SPECS[0])["plugins"][0]
    assert parse_spec("blue", [plugin | change]) is None
    assert parse_spec("blue", [plugin, {"type": "portmap"}]) is None


def test_what_the_plugins_refuse_is_refused_at_once() -> None:
    with pytest.raises(CniError, match="too small to allocate from"):
        check_spec(NetworkSpec("blue", "br-blue", (Subnet(ip_network("10.1.0.0/31")),)))
    for bridge in ("all", "default"):
        with pytest.raises(CniError, match="invalid bridge name"):
            check_spec(NetworkSpec("blue", bridge, SPECS[0].subnets))
    options = {"hairpinMode": True, "promiscMode": True}
    with pytest.raises(CniError, match="at the same time"):
        check_spec(NetworkSpec("blue", "br-blue", SPECS[0].subnets, options=options))


def test_ipv6_takes_an_mtu_of_1280() -> None:
    subnets = (*SPECS[0].subnets, Subnet(ip_network("fd00::/64")))
    check_spec(NetworkSpec("blue", "br-blue", subnets, mtu=1280))
    check_spec(NetworkSpec("blue", "br-blue", subnets[:1], mtu=1279))
    with pytest.raises(CommandError, match="at least 1280"):
        check_spec(NetworkSpec("blue", "br-blue", subnets, mtu=1279))


def test_names() -> None:
    assert calc_bridge_name("blue") == "br-blue"
    assert len(calc_bridge_name("a-network-with-a-long-name")) == 15
    for name in ("", "a b", "-x", "a/b", ".hidden", "host", "none"):
        with pytest.raises(UsageError):
            require_network_name(name)


def test_options_have_types() -> None:
    assert parse_option("portIsolation", "TRUE") is True
    assert parse_option("vlan", "7") == 7
    assert parse_option("vlan", 7) == 7
    assert parse_option("vrrpTrack", "eth0,eth1") == ["eth0", "eth1"]
    for key, value in (
        ("vlan", True),
        ("portIsolation", 1),
        ("ipMasqBackend", False),
        ("gatewayHostIP", 7),
        ("ipMasqBackend", "ipfw"),
        ("bridge", "x"),
    ):
        with pytest.raises(ValueError, match="driver option"):
            parse_option(key, value)
