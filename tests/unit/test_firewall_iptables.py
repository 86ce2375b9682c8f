"""The rules of a network as iptables-restore gets them: text in, text out."""

import pytest

from shibafu.cni.ip import parse_cidr
from shibafu.firewall.iptables import (
    calc_check,
    calc_jump,
    calc_list,
    calc_repair,
    calc_setup,
    calc_teardown,
)
from shibafu.firewall.rules import NetworkRules

RULES = NetworkRules("net", ["br0"], [parse_cidr("10.10.0.0/24"), parse_cidr("fd00:10::/64")])
CHAIN = RULES.chain
JUMP = f'-m comment --comment "shibafu network net" -j {CHAIN}'
ISOLATION = (
    f"-A {CHAIN} -i br0 ! -o br0 -m devgroup --dst-group 0x5b1b"
    " -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
)
# What iptables -S prints of the hooks.
NAT_JUMP, FORWARD_JUMP = f"-A POSTROUTING {JUMP}", f"-A FORWARD {JUMP}"
ALL_THERE = f"-P POSTROUTING ACCEPT\n{NAT_JUMP}\n-P FORWARD ACCEPT\n{FORWARD_JUMP}\n"
EMPTY = "-P POSTROUTING ACCEPT\n-P FORWARD ACCEPT\n"


def table_of(text: str, table: str) -> list[str]:
    """Return the lines of one table's transaction."""
    lines = text.splitlines()
    begin = lines.index(f"*{table}") + 1
    return lines[begin : lines.index("COMMIT", begin)]


def test_setup_of_ipv4() -> None:
    assert calc_setup(RULES, 4).splitlines() == [
        "*nat",
        f"-N {CHAIN}",
        f"-A {CHAIN} -d 10.10.0.0/24 -j RETURN",
        f"-A {CHAIN} -s 10.10.0.0/24 ! -d 224.0.0.0/4 -j MASQUERADE",
        f"-A POSTROUTING {JUMP}",
        "COMMIT",
        "*filter",
        f"-N {CHAIN}",
        f"-A {CHAIN} -i br0 -j ACCEPT",
        f"-A {CHAIN} -o br0 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
        f"-I FORWARD {JUMP}",
        "COMMIT",
    ]


def test_setup_of_ipv6_knows_nothing_of_ipv4() -> None:
    nat = table_of(calc_setup(RULES, 6), "nat")
    assert f"-A {CHAIN} -s fd00:10::/64 ! -d ff00::/8 -j MASQUERADE" in nat
    assert "10.10" not in calc_setup(RULES, 6)


def test_all_subnets_are_left_alone_before_the_first_is_masqueraded() -> None:
    rules = NetworkRules("net", ["br0"], [parse_cidr(f"10.{n}.0.0/24") for n in (30, 10, 20)])
    targets = [
        line.split()[-1] for line in table_of(calc_setup(rules, 4), "nat") if line.startswith("-A SHI")
    ]
    assert targets == ["RETURN"] * 3 + ["MASQUERADE"] * 3


@pytest.mark.parametrize("version", [4, 6])
def test_the_check_asks_for_each_rule_that_setup_makes(version: int) -> None:
    for table in ("nat", "filter"):
        made = [line.split(" ", 1)[1] for line in table_of(calc_setup(RULES, version), table)[1:]]
        asked = table_of(calc_check(RULES, version), table)
        assert all(line.startswith("-C ") for line in asked)
        assert sorted(line.split(" ", 1)[1] for line in asked) == sorted(made)


def test_repair_of_nothing_makes_all() -> None:
    text = calc_repair(RULES, 4, EMPTY)
    for table in ("nat", "filter"):
        assert table_of(text, table) == [
            line.replace(f"-N {CHAIN}", f":{CHAIN} - [0:0]") for line in table_of(calc_setup(RULES, 4), table)
        ]


@pytest.mark.parametrize(
    ("existing", "jumps"),
    [
        (EMPTY, {f"-A POSTROUTING {JUMP}", f"-I FORWARD {JUMP}"}),
        (NAT_JUMP, {f"-I FORWARD {JUMP}"}),
        (FORWARD_JUMP, {f"-A POSTROUTING {JUMP}"}),
        (ALL_THERE, set()),
        (f"{ALL_THERE}{NAT_JUMP}\n", set()),
    ],
)
def test_repair_makes_the_jumps_that_are_missing(existing: str, jumps: set[str]) -> None:
    text = calc_repair(RULES, 4, existing)
    assert {line for line in text.splitlines() if line.endswith(f"-j {CHAIN}")} == jumps
    assert text.count(f":{CHAIN} - [0:0]") == 2
    assert text.count(f"-A {CHAIN} ") == 4


def test_repair_is_not_misled_by_rules_of_others() -> None:
    existing = (
        f"-A POSTROUTING -j {CHAIN}0\n"  # another network's chain
        f"-A FORWARD -j {CHAIN} --goto\n"
        f"-A DOCKER-USER -j {CHAIN}\n"  # from another place
    )
    assert calc_repair(RULES, 4, existing).count(f"-j {CHAIN}") == 2


def test_teardown_of_what_should_be_there() -> None:
    for table, hook in (("nat", "POSTROUTING"), ("filter", "FORWARD")):
        assert table_of(calc_teardown(RULES), table) == [
            f"-D {hook} {JUMP}",
            f"-F {CHAIN}",
            f"-X {CHAIN}",
        ]


@pytest.mark.parametrize(
    ("existing", "nat", "forward"),
    [(EMPTY, 0, 0), (ALL_THERE, 1, 1), (NAT_JUMP, 1, 0), (ALL_THERE * 3, 3, 3)],
)
def test_teardown_of_what_is_there(existing: str, nat: int, forward: int) -> None:
    text = calc_teardown(RULES, existing)
    assert text.count(f"-D POSTROUTING {JUMP}\n") == nat
    assert text.count(f"-D FORWARD {JUMP}\n") == forward
    # A chain that is missing is made first, so that removing it cannot fail.
    assert text.count(f":{CHAIN} - [0:0]\n-") == 2
    assert text.count(f"-F {CHAIN}\n-X {CHAIN}\nCOMMIT\n") == 2


def test_the_teardown_does_not_depend_on_the_bridge_or_the_subnets() -> None:
    changed = NetworkRules("net", ["other"], [parse_cidr("192.168.0.0/16")])
    assert calc_teardown(changed) == calc_teardown(RULES)


def test_the_listing_asks_for_both_hooks() -> None:
    assert table_of(calc_list(RULES), "nat") == ["-S POSTROUTING"]
    assert table_of(calc_list(RULES), "filter") == ["-S FORWARD"]


@pytest.mark.parametrize(
    "text",
    [
        calc_setup(RULES, 4),
        calc_check(RULES, 4),
        calc_repair(RULES, 4, EMPTY),
        calc_teardown(RULES),
        calc_list(RULES),
    ],
)
def test_each_table_is_one_whole_transaction(text: str) -> None:
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("*") or line == "COMMIT"] == [
        "*nat",
        "COMMIT",
        "*filter",
        "COMMIT",
    ]
    assert text.endswith("COMMIT\n")


@pytest.mark.parametrize("version", [4, 6])
def test_isolation_comes_before_accepting(version: int) -> None:
    isolated = NetworkRules("net", ["br0"], RULES.subnets, is_isolated=True)
    lines = calc_setup(isolated, version).splitlines()
    assert [line for line in lines if line not in calc_setup(RULES, version).splitlines()] == [ISOLATION]
    assert lines.index(ISOLATION) + 1 == lines.index(f"-A {CHAIN} -i br0 -j ACCEPT")
    assert ISOLATION.replace("-A", "-C") in calc_check(isolated, version).splitlines()
    assert calc_teardown(isolated) == calc_teardown(RULES)


def test_isolation_alone_is_one_rule_of_one_table() -> None:
    alone = NetworkRules("net", ["br0"], RULES.subnets, is_masqueraded=False, is_isolated=True)
    assert calc_setup(alone, 4).splitlines() == [
        "*filter",
        f"-N {CHAIN}",
        ISOLATION,
        f"-I FORWARD {JUMP}",
        "COMMIT",
    ]
    for text in (calc_check(alone, 4), calc_repair(alone, 4, EMPTY), calc_teardown(alone), calc_list(alone)):
        assert [line for line in text.splitlines() if line.startswith("*")] == ["*filter"]


def test_networks_do_not_share_anything() -> None:
    other = NetworkRules("net2", ["br0"], RULES.subnets)
    assert other.chain != RULES.chain
    assert calc_jump(other) != calc_jump(RULES)
