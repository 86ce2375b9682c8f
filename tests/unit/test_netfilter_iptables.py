"""The rules of a network as iptables-restore gets them: text in, text out."""

import re

import pytest

from shibafu.cni.names import INTERNAL_GROUP, ISOLATED, NETWORK_GROUPS, STRICT
from shibafu.lean.ip import parse_cidr
from shibafu.netfilter.network_rulesets import NetworkRules, calc_iptables
from shibafu.netfilter.render_iptables import (
    render_check,
    render_removal,
    render_repair,
    render_setup,
    render_teardown,
)
from support.network_rules import (
    ALL_THERE,
    CHAIN,
    EMPTY,
    FORWARDS,
    INPUT,
    JUMP,
    KNOWN,
    PREROUTING,
    RULES,
    SPOOFED,
    TABLES,
    insert,
    table_of,
)

ISOLATION = (
    f"-A {CHAIN} -i br0 ! -o br0 -m devgroup --dst-group 0x5b1b"
    " -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
)
LISTING = ["*filter", "-S FORWARD", "COMMIT"]
# The administrator's chain comes first.
TO_ADMIN = f"-A {CHAIN} -j SHIBAFU-ADMIN"
LOOPBACK = [f"-A {CHAIN} -{side} 127.0.0.0/8 -j DROP" for side in "sd"]


def _without_listing(text: str) -> list[str]:
    """Return the lines without what setup ends with."""
    lines = text.splitlines()
    return lines[: -len(LISTING)] if lines[-len(LISTING) :] == LISTING and len(lines) > 9 else lines


def test_setup_of_ipv4() -> None:
    assert render_setup(calc_iptables(RULES, 4)).splitlines() == [
        "*filter",
        f"-N {CHAIN}",
        TO_ADMIN,
        f"-A {CHAIN} ! -s 127.0.0.0/8 ! -d 127.0.0.0/8 {KNOWN} -j ACCEPT",
        *LOOPBACK,
        f"-A {CHAIN} -i br0 -o br0 -j ACCEPT",
        f"-A {CHAIN} -i br0 ! -o br0 -m mark --mark {SPOOFED} -j DROP",
        f"-A {CHAIN} -s 10.10.0.0/24 -i br0 -j ACCEPT",
        f"-A {CHAIN} -o br0 -m conntrack --ctstate DNAT -j ACCEPT",
        *insert("FORWARD", FORWARDS),
        "COMMIT",
        "*nat",
        f"-N {CHAIN}",
        f"-A {CHAIN} -d 10.10.0.0/24 -j RETURN",
        f"-A {CHAIN} -s 10.10.0.0/24 ! -d 224.0.0.0/4 -j MASQUERADE",
        f"-A POSTROUTING {JUMP}",
        "COMMIT",
        "*mangle",
        f"-N {CHAIN}-P",
        f"-A {CHAIN}-P -d 127.0.0.0/8 -j DROP",
        f"-A {CHAIN}-P -s 127.0.0.0/8 -j DROP",
        f"-A {CHAIN}-P -m rpfilter --invert -j MARK --set-xmark {SPOOFED}",
        f"-I PREROUTING 1 {PREROUTING}",
        f"-N {CHAIN}-I",
        f"-A {CHAIN}-I -s 127.0.0.0/8 -j DROP",
        f"-A {CHAIN}-I -m conntrack --ctorigdst 127.0.0.0/8 --ctdir ORIGINAL -j DROP",
        f"-A {CHAIN}-I -m conntrack --ctrepldst 127.0.0.0/8 --ctdir REPLY -j DROP",
        f"-I INPUT 1 {INPUT}",
        "COMMIT",
        *LISTING,
    ]


def test_setup_of_ipv6_knows_nothing_of_ipv4() -> None:
    nat = table_of(render_setup(calc_iptables(RULES, 6)), "nat")
    assert f"-A {CHAIN} -s fd00:10::/64 ! -d ff00::/8 -j MASQUERADE" in nat
    assert "10.10" not in render_setup(calc_iptables(RULES, 6))


def test_all_subnets_are_left_alone_before_the_first_is_masqueraded() -> None:
    rules = NetworkRules("net", ["br0"], [parse_cidr(f"10.{n}.0.0/24") for n in (30, 10, 20)])
    targets = [
        line.split()[-1]
        for line in table_of(render_setup(calc_iptables(rules, 4)), "nat")
        if line.startswith("-A SHI")
    ]
    assert targets == ["RETURN"] * 3 + ["MASQUERADE"] * 3


def test_peers_are_reached_without_masquerading_and_reach_in() -> None:
    peers = [parse_cidr("10.42.0.0/16"), parse_cidr("fd42::/48")]
    setup = render_setup(calc_iptables(NetworkRules("net", ["br0"], RULES.subnets, peers=peers), 4))
    nat = [line for line in table_of(setup, "nat") if line.startswith(f"-A {CHAIN}")]
    assert nat == [
        f"-A {CHAIN} -d 10.10.0.0/24 -j RETURN",
        f"-A {CHAIN} -d 10.42.0.0/16 -j RETURN",
        f"-A {CHAIN} -s 10.10.0.0/24 ! -d 224.0.0.0/4 -j MASQUERADE",
    ]
    assert f"-A {CHAIN} -s 10.42.0.0/16 -o br0 -j ACCEPT" in table_of(setup, "filter")
    unmasqueraded = NetworkRules("net", ["br0"], RULES.subnets, is_masqueraded=False, peers=peers)
    assert "10.42" not in render_setup(calc_iptables(unmasqueraded, 4))


@pytest.mark.parametrize("version", [4, 6])
def test_the_check_asks_for_each_rule_that_setup_makes(version: int) -> None:
    ruleset = calc_iptables(RULES, version)
    for table in TABLES:
        setup = table_of(render_setup(ruleset), table)
        made = [line.split(" ", 1)[1] for line in setup if line[:2] in ("-A", "-I")]
        asked = [line for line in table_of(render_check(ruleset), table) if not line.startswith("-S ")]
        assert all(line.startswith("-C ") for line in asked)
        assert sorted(line.split(" ", 1)[1] for line in asked) == sorted(
            re.sub("^([A-Z]+) [0-9]+ ", r"\1 ", line) for line in made
        )


@pytest.mark.parametrize(
    "text",
    [
        render_setup(calc_iptables(RULES, 4)),
        render_check(calc_iptables(RULES, 4)),
        render_repair(calc_iptables(RULES, 4), EMPTY),
        render_teardown(calc_iptables(RULES, 4)),
    ],
)
def test_each_table_is_one_whole_transaction(text: str) -> None:
    lines = _without_listing(text)
    assert [line for line in lines if line.startswith("*") or line == "COMMIT"] == [
        "*filter",
        "COMMIT",
        "*nat",
        "COMMIT",
        "*mangle",
        "COMMIT",
    ]
    assert text.endswith("COMMIT\n")


@pytest.mark.parametrize("version", [4, 6])
def test_isolation_comes_before_accepting(version: int) -> None:
    isolated = NetworkRules("net", ["br0"], RULES.subnets, isolation=ISOLATED)
    lines = render_setup(calc_iptables(isolated, version)).splitlines()
    assert [
        line for line in lines if line not in render_setup(calc_iptables(RULES, version)).splitlines()
    ] == [ISOLATION]
    # What belongs to a connection is not asked for it.
    accepting = [line for line in lines if line.startswith(f"-A {CHAIN}") and line.endswith("-j ACCEPT")]
    assert lines.index(accepting[0]) < lines.index(ISOLATION) < lines.index(accepting[1])
    assert ISOLATION.replace("-A", "-C") in render_check(calc_iptables(isolated, version)).splitlines()
    assert render_teardown(calc_iptables(isolated, version)) == render_teardown(calc_iptables(RULES, version))


@pytest.mark.parametrize("subnets", [["10.10.0.0/24"], ["fd00:10::/64"], ["10.10.0.0/24", "fd00:10::/64"]])
def test_isolation_alone_needs_no_masquerading(subnets: list[str]) -> None:
    """Whatever the families of its own, it is isolated over both."""
    parsed = [parse_cidr(subnet) for subnet in subnets]
    alone = NetworkRules("net", ["br0"], parsed, is_masqueraded=False, isolation=ISOLATED)
    assert alone.versions() == [4, 6]
    for version in (4, 6):
        assert table_of(render_setup(calc_iptables(alone, version)), "filter") == [
            f"-N {CHAIN}",
            TO_ADMIN,
            *(LOOPBACK if version == 4 else []),
            ISOLATION,
            *insert("FORWARD", FORWARDS[3:]),
        ]
        tables = {4: ["*filter", "*mangle"], 6: ["*filter"]}[version]
        for text in (
            render_check(calc_iptables(alone, version)),
            render_repair(calc_iptables(alone, version), EMPTY),
            render_teardown(calc_iptables(alone, version)),
        ):
            assert [line for line in _without_listing(text) if line.startswith("*")] == tables


@pytest.mark.parametrize("version", [4, 6])
def test_strict_isolation_is_in_a_table_of_its_own(version: int) -> None:
    """What other networks' chains in filter accept does not come before it, wherever they are."""
    strict = calc_iptables(NetworkRules("net", ["br0"], RULES.subnets, isolation=STRICT), version)
    opened = "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
    jump = JUMP.replace(CHAIN, f"{CHAIN}-S")
    lines = table_of(render_setup(strict), "mangle")
    assert lines[lines.index(f"-N {CHAIN}-S") :] == [
        f"-N {CHAIN}-S",
        f"-A {CHAIN}-S -i br0 ! -o br0 -m devgroup --dst-group 0x5b18/0xfffffffc {opened}",
        f"-A {CHAIN}-S ! -i br0 -o br0 -m devgroup --src-group 0x5b18/0xfffffffc {opened}",
        f"-I FORWARD 1 {jump}",
    ]
    assert strict.chains[:-1][0].rules == calc_iptables(RULES, version).chains[0].rules
    # Its jump is told from that in filter.
    existing = f"{ALL_THERE}-A FORWARD -j OTHER\n-A FORWARD {jump}\n"
    assert not [line for line in render_repair(strict, existing).splitlines() if line.endswith(jump)]
    for table, forwards in (("mangle", [jump]), ("filter", FORWARDS)):
        lines = table_of(render_removal(strict, existing), table)
        assert [line for line in lines if "FORWARD" in line] == [f"-D FORWARD {rule}" for rule in forwards]


def test_every_group_of_networks_and_no_other_is_covered() -> None:
    """By the mask of iptables and the range of nft."""
    groups, others = set(NETWORK_GROUPS.values()), {0, 1, INTERNAL_GROUP, 0x5B17}
    assert {group & 0xFFFFFFFC for group in groups} == {0x5B18}
    assert groups <= set(range(23320, 23324))
    assert not {group for group in others if group & 0xFFFFFFFC == 0x5B18}


def test_the_chain_of_a_network_that_was_strict_is_emptied() -> None:
    former = calc_iptables(NetworkRules("net", ["br0"], RULES.subnets, was_strict=True), 4)
    lines = table_of(render_repair(former, ALL_THERE), "mangle")
    assert f":{CHAIN}-S - [0:0]" in lines
    assert not [line for line in lines if line.startswith(f"-A {CHAIN}-S")]


def test_what_stays_on_the_bridge_is_accepted_where_forward_sees_it() -> None:
    rules = NetworkRules("net", ["br0"], RULES.subnets, is_masqueraded=False, bridged=[6])
    accepted = f"-A {CHAIN} -i br0 -o br0 -m physdev --physdev-is-bridged -j ACCEPT"
    assert accepted in table_of(render_setup(calc_iptables(rules, 6)), "filter")
    assert "ACCEPT" not in render_setup(calc_iptables(rules, 4))


def test_families_that_the_network_had_rules_for_keep_them() -> None:
    """Its rules are removed together, with its last container."""
    former = NetworkRules("net", ["br0"], RULES.of_version(4), versions=[4, 6])
    assert former.versions() == [4, 6]
    assert "ACCEPT" not in render_setup(calc_iptables(former, 6))


def test_the_administrators_chain_is_made_and_never_emptied() -> None:
    for text in (
        render_setup(calc_iptables(RULES, 4), has_shared=False),
        render_repair(calc_iptables(RULES, 4), EMPTY, has_shared=False),
    ):
        lines = table_of(text, "filter")
        assert lines.count("-N SHIBAFU-ADMIN") == 1
        assert lines.index("-N SHIBAFU-ADMIN") < lines.index(TO_ADMIN)
    for text in (
        render_setup(calc_iptables(RULES, 4)),
        render_repair(calc_iptables(RULES, 4), EMPTY),
    ):
        lines = [line for line in text.splitlines() if "SHIBAFU-ADMIN" in line]
        assert lines == [TO_ADMIN, f"-I FORWARD 1 {FORWARDS[0]}"]


def test_networks_do_not_share_anything() -> None:
    other = NetworkRules("net2", ["br0"], RULES.subnets)
    assert other.chain != RULES.chain
    for mine, others in zip(calc_iptables(RULES, 4).chains, calc_iptables(other, 4).chains, strict=True):
        assert mine.jumps != others.jumps
