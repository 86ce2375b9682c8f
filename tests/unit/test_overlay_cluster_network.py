"""The network as etcd describes it: flannel's defaults and refusals."""

import json
from ipaddress import IPv4Network, IPv6Network

import pytest

from shibafu.overlay.cluster_network import (
    ClusterNetwork,
    SubnetRange,
    calc_range,
    find_redescription,
    format_cluster_network,
    parse_cluster_network,
)
from shibafu.overlay.errors import OverlayError

VXLAN = {"Type": "vxlan"}


def parse(**keys: object) -> ClusterNetwork:
    return parse_cluster_network(json.dumps({"Network": "10.42.0.0/16", "Backend": VXLAN} | keys))


def test_defaults() -> None:
    network = parse()
    assert network == ClusterNetwork(calc_range(IPv4Network("10.42.0.0/16")))
    assert (network.vni, network.port, network.mtu) == (1, 8472, 0)
    assert str(network.subnets.calc_subnet(0)) == "10.42.1.0/24"
    assert str(network.subnets.calc_subnet(network.count - 1)) == "10.42.255.0/24"


@pytest.mark.parametrize(
    ("network", "length"),
    [("10.0.0.0/8", 24), ("10.0.0.0/22", 24), ("10.0.0.0/23", 25), ("10.0.0.0/28", 30)],
)
def test_default_length(network: str, length: int) -> None:
    assert parse(Network=network).subnets.length == length


@pytest.mark.parametrize(("network", "length"), [("fd42::/48", 64), ("fd42::/62", 64), ("fd42::/63", 65)])
def test_default_length_of_ipv6(network: str, length: int) -> None:
    subnets6 = parse(EnableIPv6=True, IPv6Network=network).subnets6
    assert subnets6 is not None
    assert subnets6.length == length


def test_keys_match_without_regard_to_case() -> None:
    """As Go's encoding/json has it."""
    backend = '{"type":"VXLAN","vni":7,"PORT":0,"directrouting":true}'
    text = f'{{"network":"10.42.0.0/16","SUBNETLEN":25,"backend":{backend}}}'
    network = parse_cluster_network(text)
    assert (network.subnets.length, network.vni, network.port, network.direct_routing) == (25, 7, 8472, True)


def test_bounds() -> None:
    network = parse(SubnetMin="10.42.10.0", SubnetMax="10.42.12.0")
    assert network.count == 3
    subnets = [str(network.subnets.calc_subnet(number)) for number in range(3)]
    assert subnets == ["10.42.10.0/24", "10.42.11.0/24", "10.42.12.0/24"]
    for text, number in (("10.42.11.0/24", 1), ("10.42.13.0/24", None), ("10.42.11.0/25", None)):
        assert network.subnets.find_number(IPv4Network(text)) == number
    assert network.subnets.find_number(IPv6Network("::/24")) is None


def test_as_many_hosts_as_both_families_have_room_for() -> None:
    assert parse(EnableIPv6=True, IPv6Network="fd42::/60").count == 15


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"Network": None}, "lacks the key Network"),
        ({"Network": "10.42.0.0/33"}, "Network in the network's configuration in etcd is invalid"),
        ({"Network": "10.0.0.0/29"}, "10.0.0.0/29 is too small"),
        ({"SubnetLen": 17}, "too small for subnets of the length /17"),
        ({"SubnetLen": 31}, "cannot have the length /31"),
        ({"SubnetLen": "24"}, "SubnetLen in the network's configuration in etcd is not a whole number"),
        ({"SubnetMin": "10.42.1.9"}, "SubnetMin 10.42.1.9 is not the beginning of a subnet of length /24"),
        ({"SubnetMax": "10.43.0.0"}, "SubnetMax 10.43.0.0 is outside of 10.42.0.0/16"),
        ({"SubnetMin": "10.42.9.0", "SubnetMax": "10.42.8.0"}, "SubnetMin is above SubnetMax"),
        ({"EnableIPv4": False}, "networks without IPv4 are not supported"),
        ({"EnableIPv6": True}, "lacks the key IPv6Network"),
        ({"EnableIPv6": True, "IPv6Network": "fd42::/125"}, "fd42::/125 is too small"),
        ({"Backend": None}, "has no backend, which means udp to flannel"),
        ({"Backend": {"Type": "host-gw"}}, 'backend is "host-gw", but only vxlan is supported'),
        ({"Backend": VXLAN | {"Learning": True}}, "Learning"),
        ({"Backend": VXLAN | {"VNI": 1 << 24}}, "VNI"),
        ({"Backend": VXLAN | {"Port": 65536}}, "Port"),
    ],
)
def test_refusals(keys: dict[str, object], message: str) -> None:
    with pytest.raises(OverlayError) as caught:
        parse(**keys)
    assert message in caught.value.message


@pytest.mark.parametrize("text", ["", "[]", "{", b"\xff", "[" * 100_000])
def test_what_is_no_configuration(text: str | bytes) -> None:
    with pytest.raises(OverlayError):
        parse_cluster_network(text)


def test_what_is_written_is_read() -> None:
    subnets6 = calc_range(IPv6Network("fd42::/48"), 80)
    network = ClusterNetwork(calc_range(IPv4Network("10.42.0.0/16"), 26), subnets6, 77, 4789, 1400, True)
    assert parse_cluster_network(format_cluster_network(network)) == network
    assert format_cluster_network(parse()) == (
        '{"Network": "10.42.0.0/16", "SubnetLen": 24, "Backend": {"Type": "vxlan", "VNI": 1}}'
    )


def test_first_subnet_is_never_given() -> None:
    assert calc_range(IPv4Network("10.42.0.0/28")) == SubnetRange(
        IPv4Network("10.42.0.0/28"), 30, 0x0A2A0004, 0x0A2A000C
    )


def test_what_is_described_otherwise() -> None:
    def find(**keys: object) -> tuple[str, str]:
        return find_redescription(
            parse(), json.dumps({"Network": "10.42.0.0/16", "Backend": VXLAN} | keys).encode()
        )

    assert find() == ("", "")
    # Flannel's defaults, in other words.
    assert find(SubnetLen=24, enableipv4=True) == ("", "")
    said, advice = find(SubnetLen=25, Backend=VXLAN | {"VNI": 7})
    assert said.endswith("has changed since the agent read it: IPv4 subnets, VNI")
    assert "systemctl restart shibafu-overlay" in advice
    assert find(Backend={"Type": "udp"})[0].endswith('backend is "udp", but only vxlan is supported')
    assert "has been removed" in find_redescription(parse(), None)[0]
