"""The rules of a network as data, and as nft gets them."""

from hashlib import sha512

import pytest

from shibafu.bridge.compat.reference import calc_reference_chain
from shibafu.cni.ip import parse_cidr
from shibafu.netfilter import nftables, spoofing
from shibafu.netfilter.rules import NetworkRules


def rules(*subnets: str) -> NetworkRules:
    return NetworkRules("net", ["br0"], [parse_cidr(subnet) for subnet in subnets])


def test_subnets_are_told_once_and_in_one_order() -> None:
    one = rules("10.2.0.0/24", "10.1.0.0/24", "fd00::/64", "10.1.0.0/24")
    other = rules("fd00::/64", "10.1.0.0/24", "10.2.0.0/24")
    assert one.subnets == other.subnets
    assert [str(subnet) for subnet in one.of_version(4)] == ["10.1.0.0/24", "10.2.0.0/24"]
    assert [str(subnet) for subnet in one.of_version(6)] == ["fd00::/64"]


@pytest.mark.parametrize(
    ("subnets", "versions"),
    [
        ([], []),
        (["10.1.0.0/24"], [4]),
        (["fd00::/64"], [6]),
        (["fd00::/64", "10.1.0.0/24"], [4, 6]),
    ],
)
def test_families(subnets: list[str], versions: list[int]) -> None:
    assert rules(*subnets).versions() == versions


def test_names_are_recognised_by_people() -> None:
    assert rules().chain.startswith("SHIBAFU-")
    assert rules().comment == "shibafu network net"


def test_the_table_of_nftables() -> None:
    text = nftables.calc_setup(rules("10.1.0.0/24", "fd00::/64"))
    table = f"inet {rules().chain.lower()}"
    assert text.splitlines()[:3] == [
        f"add table {table}",
        f"flush table {table}",
        f"add chain {table} prerouting {{ type filter hook prerouting priority -300; }}",
    ]
    assert text.splitlines()[3:8] == [
        f'add rule {table} prerouting iifname "br0" ip daddr 127.0.0.0/8 drop comment "shibafu network net"',
        f'add rule {table} prerouting iifname "br0" ip saddr 127.0.0.0/8 drop comment "shibafu network net"',
        f"add chain {table} forward {{ type filter hook forward priority 0; }}",
        f'add rule {table} forward iifname "br0" oifname != "br0" ct state invalid,new,untracked'
        ' fib saddr . iif oif missing drop comment "shibafu network net"',
        f"add chain {table} postrouting {{ type nat hook postrouting priority 100; }}",
    ]
    added = [line.removeprefix(f"add rule {table} postrouting ") for line in text.splitlines()[8:]]
    assert added == [
        'ip daddr 10.1.0.0/24 return comment "shibafu network net"',
        'ip saddr 10.1.0.0/24 ip daddr != 224.0.0.0/4 masquerade comment "shibafu network net"',
        'ip6 daddr fd00::/64 return comment "shibafu network net"',
        'ip6 saddr fd00::/64 ip6 daddr != ff00::/8 masquerade comment "shibafu network net"',
    ]


def test_isolation_by_nftables() -> None:
    subnets = [parse_cidr("10.1.0.0/24")]
    isolated = NetworkRules("net", ["br0"], subnets, is_masqueraded=False, is_isolated=True)
    others = 'iifname "br0" oifname != "br0" oifgroup 23323'
    expected = [f"{others} ct status dnat return", f"{others} ct state invalid,new,untracked drop"]
    loopback = [f'iifname "br0" ip {side} 127.0.0.0/8 drop' for side in ("daddr", "saddr")]
    assert nftables.calc_rules(isolated) == {"prerouting": loopback, "forward": expected}
    table = f"inet {isolated.chain.lower()}"
    assert nftables.calc_setup(isolated).splitlines() == [
        f"add table {table}",
        f"flush table {table}",
        f"add chain {table} prerouting {{ type filter hook prerouting priority -300; }}",
        *(f'add rule {table} prerouting {text} comment "shibafu network net"' for text in loopback),
        f"add chain {table} forward {{ type filter hook forward priority 0; }}",
        *(f'add rule {table} forward {text} comment "shibafu network net"' for text in expected),
    ]


def test_a_rule_is_found_in_a_listing_also_when_its_group_has_a_name() -> None:
    others = 'iifname "br0" oifname != "br0" oifgroup'
    for group in ("23323", '"isolated"'):
        listing = f'table inet x {{\n\t\t{others} {group} ct status dnat return comment "s"\n}}\n'
        assert nftables.is_listed(f"{others} 23323 ct status dnat return", listing)
        assert not nftables.is_listed(f"{others} 23323 ct state invalid,new,untracked drop", listing)
    assert nftables.is_listed("ip daddr 10.1.0.0/24 return", '\tip daddr 10.1.0.0/24 return comment "s"')
    assert not nftables.is_listed("ip daddr 10.1.0.0/24 return", "\tip daddr 10.2.0.0/24 return")


def test_removing_a_table_that_may_be_missing() -> None:
    assert nftables.calc_teardown("inet x") == "add table inet x\ndelete table inet x\n"


def test_the_guard_against_spoofing_is_one_rule_and_two_sets() -> None:
    text = spoofing.calc_guard("net", [("veth1", "02:00:00:00:00:01")])
    assert text.count("add rule ") == 1
    assert text.count("add set ") == 2
    # Allowed before guarded: at no moment are the container's own frames dropped.
    assert text.index("allowed {") < text.index('ports { "veth1" }')
    removal = spoofing.calc_unguard("net", [("veth1", "02:00:00:00:00:01")])
    assert removal.index("delete element") > removal.index("add element")
    assert removal.rindex("allowed") > removal.rindex("ports {")


def test_the_chain_that_the_reference_plugin_makes() -> None:
    # Containers that it attached are taken over by this name.
    assert calc_reference_chain("net", "c1") == f"CNI-{sha512(b'netc1').hexdigest()}"[:28]
