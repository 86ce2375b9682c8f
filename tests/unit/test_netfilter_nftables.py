"""The rules of a network as data, and as nft gets and lists them."""

from hashlib import sha512

import pytest

from shibafu.bridge.compat.reference import calc_reference_chain
from shibafu.cni.names import ISOLATED, STRICT
from shibafu.lean.ip import parse_cidr
from shibafu.netfilter.network_rulesets import NetworkRules
from shibafu.netfilter.network_tables import calc_nftables
from shibafu.netfilter.port_rulesets import calc_internal, calc_spoofcheck
from shibafu.netfilter.render_nftables import (
    RulesetListing,
    render_setup,
    render_teardown,
    render_without_elements,
)
from shibafu.netfilter.ruleset import Ruleset


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


HOOKS = {
    "prerouting": "type filter hook prerouting priority -300",
    "forward": "type filter hook forward priority 0",
    "postrouting": "type nat hook postrouting priority 100",
}


def assert_transaction(wanted: NetworkRules, chains: dict[str, list[str]]) -> None:
    """See that one transaction makes these chains with these rules, and nothing else."""
    table, comment = f"inet {wanted.chain.lower()}", 'comment "shibafu network net"'
    assert render_setup(calc_nftables(wanted)).splitlines() == [
        f"add table {table}",
        *(f"add chain {table} {chain} {{ {HOOKS[chain]}; }}" for chain in chains),
        f"flush table {table}",
        *(f"add rule {table} {chain} {rule} {comment}" for chain in chains for rule in chains[chain]),
    ]


LOOPBACK = [f'iifname "br0" ip {side} 127.0.0.0/8 drop' for side in ("daddr", "saddr")]
LEAVING = 'iifname "br0" oifname != "br0"'
ENTERING = 'iifname != "br0" oifname "br0"'


def test_the_table_of_nftables() -> None:
    assert_transaction(
        rules("10.1.0.0/24", "fd00::/64"),
        {
            "prerouting": LOOPBACK,
            "forward": [f"{LEAVING} ct state invalid,new,untracked fib saddr . iif oif missing drop"],
            "postrouting": [
                "ip daddr 10.1.0.0/24 return",
                "ip saddr 10.1.0.0/24 ip daddr != 224.0.0.0/4 masquerade",
                "ip6 daddr fd00::/64 return",
                "ip6 saddr fd00::/64 ip6 daddr != ff00::/8 masquerade",
            ],
        },
    )


def test_peers_are_not_masqueraded_by_nftables() -> None:
    rules = NetworkRules("net", ["br0"], [parse_cidr("fd00::/64")], peers=[parse_cidr("fd42::/48")])
    postrouting = next(chain for chain in calc_nftables(rules).chains if chain.name == "postrouting")
    assert postrouting.rules == [
        "ip6 daddr fd00::/64 return",
        "ip6 daddr fd42::/48 return",
        "ip6 saddr fd00::/64 ip6 daddr != ff00::/8 masquerade",
    ]


@pytest.mark.parametrize(
    ("isolation", "others"),
    [
        (ISOLATED, [f"{LEAVING} oifgroup 23323"]),
        (STRICT, [f"{LEAVING} oifgroup 23320-23323", f"{ENTERING} iifgroup 23320-23323"]),
    ],
)
def test_isolation_by_nftables(isolation: str, others: list[str]) -> None:
    subnets = [parse_cidr("10.1.0.0/24")]
    assert_transaction(
        NetworkRules("net", ["br0"], subnets, is_masqueraded=False, isolation=isolation),
        {
            "prerouting": LOOPBACK,
            "forward": [
                f"{way} {verdict}"
                for way in others
                for verdict in ("ct status dnat return", "ct state invalid,new,untracked drop")
            ],
        },
    )


INTERNAL = calc_internal("net")
TABLE = INTERNAL.name
LISTED = f"""table {TABLE} {{
	chain input {{
		type filter hook input priority dstnat; policy accept;
		iifgroup 23324 drop comment "shibafu network net"
	}}
}}
"""
RULE = 'iifgroup 23324 drop comment "shibafu network net"\n'


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        ("", "", ""),
        # The name that somebody gave the group in /etc/iproute2/group.
        ("23324", '"internal"', ""),
        (RULE, "", f"chain input of table {TABLE} lacks the rule: iifgroup 23324 drop"),
        ("drop", "accept", f"chain input of table {TABLE} lacks the rule: iifgroup 23324 drop"),
        (RULE, f"accept\n{RULE}", f"chain input of table {TABLE} contains other rules or is out of order"),
        (RULE, f"{RULE}accept\n", f"chain input of table {TABLE} contains other rules or is out of order"),
        ("hook input", "hook output", f"chain input of table {TABLE} is missing"),
        ("chain input", "chain other", f"chain input of table {TABLE} is missing"),
        (f"table {TABLE} {{", f"table {TABLE} {{\n\tflags dormant\n", f"table {TABLE} is dormant"),
        (LISTED, "", f"table {TABLE} is missing"),
    ],
)
def test_a_ruleset_compared_with_what_nft_lists(before: str, after: str, difference: str) -> None:
    assert RulesetListing(LISTED.replace(before, after)).find_difference(INTERNAL) == difference


def test_the_order_of_rules_matters() -> None:
    ruleset = calc_nftables(rules("10.1.0.0/24", "10.2.0.0/24"))
    chain = ruleset.chains[-1]
    texts = {"right": chain.rules, "wrong": chain.rules[::-1]}
    listed = {
        name: "\n".join([f"table {ruleset.name} {{", *_list_chains(ruleset, texts), "}"])
        for name, texts in texts.items()
    }
    assert RulesetListing(listed["right"]).find_difference(ruleset) == ""
    assert "out of order" in RulesetListing(listed["wrong"]).find_difference(ruleset)


def _list_chains(ruleset: Ruleset, last: list[str]) -> list[str]:
    lines = []
    for chain in ruleset.chains:
        texts = last if chain is ruleset.chains[-1] else chain.rules
        lines += [f"chain {chain.name} {{", f"{chain.hook}; policy accept;", *texts, "}"]
    return lines


def test_removing_a_table_that_may_be_missing() -> None:
    assert render_teardown(INTERNAL) == f"add table {TABLE}\ndelete table {TABLE}\n"


def test_the_mac_spoof_check_is_one_rule_and_two_sets() -> None:
    ruleset = calc_spoofcheck("net", [("veth1", "02:00:00:00:00:01")])
    text = render_setup(ruleset)
    assert text.count("add rule ") == 1
    assert text.count("add set ") == 2
    # Allowed before checked: at no moment are the container's own frames dropped.
    assert text.index("allowed {") < text.index('ports { "veth1" }')
    removal = render_without_elements(ruleset)
    assert removal.index("delete element") > removal.index("add element")
    assert removal.rindex("allowed") > removal.rindex("ports {")


@pytest.mark.parametrize(
    ("ports", "lacks"),
    [
        ([], ""),
        ([1], ""),
        ([1, 2, 3, 4], ""),
        ([1, 5], 'set allowed of table {} lacks the element: "veth5" . 02:00:00:00:00:05'),
    ],
)
def test_elements_are_found_among_others(ports: list[int], lacks: str) -> None:
    """Also where nft lists them on several lines."""
    ruleset = calc_spoofcheck("net", [(f"veth{n}", f"02:00:00:00:00:0{n}") for n in ports])
    elements = {part.name: part for part in calc_spoofcheck("net", _ports(4)).sets}
    lines = [f"table {ruleset.name} {{"]
    for name, part in elements.items():
        listed = ",\n\t\t\t".join(part.elements)
        lines += [f"\tset {name} {{", f"\t\ttype {part.kind}", f"\t\telements = {{ {listed} }}", "\t}", ""]
    lines += _list_chains(ruleset, ruleset.chains[-1].rules)
    assert RulesetListing("\n".join([*lines, "}"])).find_difference(ruleset) == lacks.format(ruleset.name)


def _ports(count: int) -> list[tuple[str, str]]:
    return [(f"veth{n}", f"02:00:00:00:00:0{n}") for n in range(1, count + 1)]


def test_the_chain_that_the_reference_plugin_makes() -> None:
    # Containers that it attached are taken over by this name.
    assert calc_reference_chain("net", "c1") == f"CNI-{sha512(b'netc1').hexdigest()}"[:28]
