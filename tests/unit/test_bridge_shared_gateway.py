"""A gateway that several hosts share: what a configuration may state of it."""

from typing import Any

import pytest

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.keepalived import render_keepalived
from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.request import Request
from shibafu.lean.ip import parse_address
from shibafu.networks.gateway_place import GatewayPlace

V4 = {"subnet": "10.7.0.0/24", "rangeStart": "10.7.0.10", "rangeEnd": "10.7.0.99"}
V6 = {"subnet": "fd07::/64", "rangeStart": "fd07::10", "rangeEnd": "fd07::99"}
NO_VRRP = {"gatewayHA": None, "gatewayHostIP": None}
HOST = ["10.7.0.2/24", "fd07::2/64"]


def parse(*ranges: dict[str, str], command: str = "ADD", **keys: Any) -> BridgeConfig:
    document = {
        "name": "lan",
        "isDefaultGateway": True,
        "gatewayHA": "vrrp",
        "gatewayHostIP": HOST,
        "ipam": {"type": "shibafu-ipam", "ranges": [[one] for one in ranges or (V4, V6)]},
    } | keys
    return BridgeConfig(Request(command, {}, b"", Section(document, "NetConf"), "1.1.0"))


def test_hosts_agree_on_the_number_and_differ_in_priority() -> None:
    one, other = (parse(V4, gatewayHostIP=[ip]).shared_gateway for ip in ("10.7.0.2/24", "10.7.0.3/24"))
    assert one is not None
    assert other is not None
    assert one.router_id == other.router_id
    assert one.priority != other.priority
    stated = parse(vrrpID=7, vrrpPriority=200).shared_gateway
    assert stated is not None
    assert (stated.router_id, stated.priority) == (7, 200)


@pytest.mark.parametrize(
    ("present", "said"),
    [
        (["10.7.0.2", "10.7.0.1", "fd07::1"], "on this host"),
        # keepalived was killed after it had taken away one of both.
        (["10.7.0.2", "fd07::1"], "not on this host"),
        (["10.7.0.2"], "not on this host"),
    ],
)
def test_where_it_is(present: list[str], said: str) -> None:
    shared = parse(vrrpID=7).shared_gateway
    assert shared is not None
    place = GatewayPlace.find(shared, {parse_address(ip).packed for ip in present}, has_links=False)
    assert place.is_here is (said == "on this host")
    taking_part = GatewayPlace(place.addresses, place.is_here, True, place.router_id, place.priority)
    assert f"gateway 10.7.0.1, fd07::1: {said} (VRRP 7, " in taking_part.describe()


def test_the_configuration_of_keepalived() -> None:
    config = parse(V4 | {"gateway": "10.7.0.254"}, V6, vrrpID=7, vrrpPriority=200, vrrpTrack=["eth0"])
    assert config.shared_gateway is not None
    text = render_keepalived("lan", "br-lan", config.shared_gateway, "br-lan, number 7", "")
    block = text.partition("vrrp_instance ")[2]
    assert [line.strip() for line in block.splitlines()] == [
        "shibafu-lan {",
        "version 3",
        "state BACKUP",
        "nopreempt",
        "interface br-lan",
        "mcast_src_ip 10.7.0.2",
        "virtual_router_id 7",
        "priority 200",
        "advert_int 0.1",
        "garp_master_repeat 2",
        "virtual_ipaddress {",
        "10.7.0.254",
        "}",
        "virtual_ipaddress_excluded {",
        "fd07::1",
        "}",
        "track_interface {",
        "eth0",
        "}",
        "}",
    ]


def test_keepalived_reads_whether_uplinks_are_dead() -> None:
    config = parse(V4, V6)
    assert config.shared_gateway is not None
    text = render_keepalived("lan", "br-lan", config.shared_gateway, "br-lan, number 7", "/run/dead-br-lan")
    declared = 'track_file shibafu-lan {\n    file "/run/dead-br-lan"\n    weight 0\n}\nvrrp_instance '
    assert declared in text
    assert "    track_file {\n        shibafu-lan\n    }\n}\n" in text


@pytest.mark.parametrize(
    ("ranges", "keys", "message", "advice"),
    [
        ((), {"gatewayHA": "carp"}, 'unknown gatewayHA "carp"', '"vrrp"'),
        (
            (),
            {"gatewayHA": None},
            "gatewayHostIP, vrrpID, vrrpPriority and vrrpTrack need gatewayHA",
            'set "gatewayHA"',
        ),
        ((), {"isDefaultGateway": False}, "gatewayHA needs a gateway", '"isGateway"'),
        ((), {"ipam": {"type": "dhcp"}}, "needs ranges of addresses", 'add "ranges"'),
        ((V6,), {"gatewayHostIP": HOST[1:]}, "needs a range of IPv4 addresses", "add one"),
        (({"subnet": "10.7.0.0/24"},), {}, "is the whole subnet", '"rangeStart" and "rangeEnd"'),
        ((), {"gatewayHostIP": None}, "exactly one address of the subnet 10.7.0.0/24", "/24"),
        ((), {"gatewayHostIP": HOST[:1]}, "exactly one address of the subnet fd07::/64", "/64"),
        ((), {"gatewayHostIP": ["10.7.0.2/16", HOST[1]]}, "one address of the subnet 10.7.0.0/24", "/24"),
        ((), {"gatewayHostIP": [*HOST, "10.7.0.3/24"]}, "exactly one address of the subnet 10.7", "/24"),
        ((), {"gatewayHostIP": [*HOST, "10.8.0.3/24"]}, "10.8.0.3/24 in gatewayHostIP is in none", "subnet"),
        ((), {"gatewayHostIP": ["10.7.0.1/24", HOST[1]]}, "is the gateway's address", "another address"),
        ((), {"gatewayHostIP": ["10.7.0.50/24", HOST[1]]}, "that containers are given", "outside of"),
        ((), {"gatewayHostIP": ["10.7.0.2"]}, "invalid CIDR address: 10.7.0.2", "10.7.0.2/24"),
        (
            (V4 | {"gateway": "10.9.0.1"}, V6),
            {},
            "10.9.0.1 is not in the subnet 10.7.0.0/24",
            "in the subnet",
        ),
        ((V4 | {"gateway": "x"}, V6), {}, "ipam: invalid IP address: x", '"ranges"'),
        ((), {"vrrpID": 256}, "invalid vrrpID 256", "1 to 255"),
        ((), {"vrrpID": 0}, "invalid vrrpID 0", "1 to 255"),
        ((), {"vrrpPriority": 0}, "invalid vrrpPriority 0", "1 to 254"),
        ((), NO_VRRP | {"vrrpID": 7}, "vrrpID, vrrpPriority and vrrpTrack need gatewayHA", "remove them"),
        ((), NO_VRRP | {"vrrpPriority": 0}, "vrrpPriority and vrrpTrack need gatewayHA", "remove them"),
        ((), {"vrrpPriority": 255}, "invalid vrrpPriority 255", "1 to 254"),
        ((), {"vrrpTrack": ["eth0 }"]}, 'invalid link name "eth0 }"', "eth0"),
    ],
)
def test_what_cannot_be_is_refused(
    ranges: tuple[dict[str, str], ...], keys: dict[str, Any], message: str, advice: str
) -> None:
    with pytest.raises(CniError) as refusal:
        parse(*ranges, **keys)
    assert refusal.value.code == INVALID_CONFIG
    assert message in refusal.value.msg
    assert advice in refusal.value.details
    # A container that is there can be removed nevertheless.
    parse(*ranges, command="DEL", **keys)
