"""The rules of a network as iptables-restore gets them: text in, text out."""

import pytest

from shibafu.cni.ip import parse_cidr
from shibafu.cni.names import INTERNAL_GROUP, ISOLATED, NETWORK_GROUPS, STRICT
from shibafu.netfilter.network_rulesets import NetworkRules, calc_iptables, calc_iptables_remains
from shibafu.netfilter.render_iptables import (
    find_missing,
    find_overtaken,
    find_stray,
    render_check,
    render_list,
    render_removal,
    render_repair,
    render_setup,
    render_teardown,
)

RULES = NetworkRules("net", ["br0"], [parse_cidr("10.10.0.0/24"), parse_cidr("fd00:10::/64")])
CHAIN = RULES.chain
REMAINS = calc_iptables_remains("net", was_strict=False)
JUMP = f'-m comment --comment "shibafu network net" -j {CHAIN}'
ISOLATION = (
    f"-A {CHAIN} -i br0 ! -o br0 -m devgroup --dst-group 0x5b1b"
    " -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
)
LISTING = ["*filter", "-S FORWARD", "COMMIT"]
# The administrator's chain comes first.
TO_ADMIN = [f"-A {CHAIN} {way} -j SHIBAFU-ADMIN" for way in ("-i br0", "! -i br0 -o br0")]
TABLES = {"filter": "FORWARD", "nat": "POSTROUTING", "raw": "PREROUTING"}
SPOOFED = "0x5b1b0000/0xffff0000"
# What iptables -S prints of the hooks.
NAT_JUMP, FORWARD_JUMP, RAW_JUMP = (
    f"-A POSTROUTING {JUMP}",
    f"-A FORWARD {JUMP}",
    f"-A PREROUTING -i br0 {JUMP}",
)
EMPTY = "".join(f"-P {hook} ACCEPT\n" for hook in TABLES.values())
ALL_THERE = f"{EMPTY}{NAT_JUMP}\n{FORWARD_JUMP}\n{RAW_JUMP}\n"


def table_of(text: str, table: str) -> list[str]:
    """Return the lines of one table's transaction."""
    lines = text.splitlines()
    begin = lines.index(f"*{table}") + 1
    return lines[begin : lines.index("COMMIT", begin)]


def _without_listing(text: str) -> list[str]:
    """Return the lines without what setup ends with."""
    lines = text.splitlines()
    return lines[: -len(LISTING)] if lines[-len(LISTING) :] == LISTING and len(lines) > 9 else lines


def test_setup_of_ipv4() -> None:
    assert render_setup(calc_iptables(RULES, 4)).splitlines() == [
        "*filter",
        f"-N {CHAIN}",
        *TO_ADMIN,
        f"-A {CHAIN} -i br0 -o br0 -j ACCEPT",
        f"-A {CHAIN} -i br0 ! -o br0 -m mark --mark {SPOOFED}"
        " -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP",
        f"-A {CHAIN} -s 10.10.0.0/24 -i br0 -j ACCEPT",
        f"-A {CHAIN} -i br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        f"-A {CHAIN} -o br0 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
        f"-I FORWARD 1 {JUMP}",
        "COMMIT",
        "*nat",
        f"-N {CHAIN}",
        f"-A {CHAIN} -d 10.10.0.0/24 -j RETURN",
        f"-A {CHAIN} -s 10.10.0.0/24 ! -d 224.0.0.0/4 -j MASQUERADE",
        f"-A POSTROUTING {JUMP}",
        "COMMIT",
        "*raw",
        f"-N {CHAIN}",
        f"-A {CHAIN} -d 127.0.0.0/8 -j DROP",
        f"-A {CHAIN} -s 127.0.0.0/8 -j DROP",
        f"-A {CHAIN} -m rpfilter --invert -j MARK --set-xmark {SPOOFED}",
        f"-I PREROUTING 1 -i br0 {JUMP}",
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


@pytest.mark.parametrize("version", [4, 6])
def test_the_check_asks_for_each_rule_that_setup_makes(version: int) -> None:
    for table in TABLES:
        setup = table_of(render_setup(calc_iptables(RULES, version)), table)
        made = [line.split(" ", 1)[1].replace(" 1 ", " ") for line in setup[1:]]
        asked = [
            line
            for line in table_of(render_check(calc_iptables(RULES, version)), table)
            if line not in ("-S FORWARD", f"-S {CHAIN}")
        ]
        assert all(line.startswith("-C ") for line in asked)
        assert sorted(line.split(" ", 1)[1] for line in asked) == sorted(made)


def test_repair_of_nothing_makes_all() -> None:
    text = render_repair(calc_iptables(RULES, 4), EMPTY)
    for table in TABLES:
        assert table_of(text, table) == [
            line.replace(f"-N {CHAIN}", f":{CHAIN} - [0:0]")
            for line in table_of(render_setup(calc_iptables(RULES, 4)), table)
        ]


NEW_NAT, NEW_FORWARD, NEW_RAW = (
    f"-A POSTROUTING {JUMP}",
    f"-I FORWARD 1 {JUMP}",
    f"-I PREROUTING 1 -i br0 {JUMP}",
)


@pytest.mark.parametrize(
    ("existing", "jumps"),
    [
        (EMPTY, [NEW_FORWARD, NEW_NAT, NEW_RAW]),
        (NAT_JUMP, [NEW_FORWARD, NEW_RAW]),
        (FORWARD_JUMP, [NEW_NAT, NEW_RAW]),
        (ALL_THERE, []),
        (f"{ALL_THERE}{NAT_JUMP}\n", [f"-D POSTROUTING {JUMP}"] * 2 + [NEW_NAT]),
        (
            ALL_THERE.replace("-i br0", "-i br1"),
            [f"-D PREROUTING -i br1 {JUMP}", NEW_RAW],
        ),
    ],
)
def test_repair_makes_the_jumps_that_are_missing(existing: str, jumps: list[str]) -> None:
    text = render_repair(calc_iptables(RULES, 4), existing)
    assert [line for line in text.splitlines() if line.endswith(f"-j {CHAIN}")] == jumps
    assert text.count(f":{CHAIN} - [0:0]") == 3
    assert text.count(f"-A {CHAIN} ") == 12


DOCKER, STAGE_1, CNI = (
    "-j DOCKER-USER",
    '-m comment --comment "a -j b" -j CNI-ISOLATION-STAGE-1',
    "-j CNI-FORWARD",
)


@pytest.mark.parametrize(
    ("before", "place"),
    [
        ([], 1),
        (["-j REJECT"], 1),
        ([DOCKER], 2),
        (["-j OTHER", DOCKER, "-j OTHER", "-j REJECT"], 3),
        ([STAGE_1, CNI, "-j OTHER", DOCKER, f'-m comment --comment "x" -j {CHAIN}0'], 5),
        # Ours is taken away before it is put where it belongs.
        ([JUMP, STAGE_1, CNI, "-j REJECT"], 3),
        ([STAGE_1, JUMP, CNI, JUMP, "-j REJECT"], 3),
        # Nobody jumps there.
        (["-s 192.0.2.1/32 -m comment --comment DOCKER-USER -j ACCEPT", "-g DOCKER-USER"], 1),
    ],
)
def test_forward_comes_to_ours_directly_behind_what_drops(before: list[str], place: int) -> None:
    existing = "".join(f"-A FORWARD {rule}\n" for rule in before)
    assert f"-I FORWARD {place} {JUMP}" in table_of(
        render_repair(calc_iptables(RULES, 4), existing), "filter"
    )


@pytest.mark.parametrize(
    ("rules", "overtaken"),
    [
        ([], ""),
        ([JUMP], ""),
        ([STAGE_1, CNI, DOCKER, JUMP, "-j OTHER"], ""),
        ([STAGE_1, JUMP, CNI], "CNI-FORWARD"),
        ([JUMP, "-j OTHER", STAGE_1, CNI], "CNI-ISOLATION-STAGE-1"),
        ([JUMP, DOCKER, JUMP], "DOCKER-USER"),
        ([DOCKER], ""),
    ],
)
def test_an_order_that_is_wrong(rules: list[str], overtaken: str) -> None:
    existing = "-P FORWARD DROP\n" + "".join(f"-A FORWARD {rule}\n" for rule in rules)
    assert find_overtaken(existing, CHAIN) == overtaken
    if overtaken:
        assert f"-D FORWARD {JUMP}" in render_repair(calc_iptables(RULES, 4), existing)


def test_repair_is_not_misled_by_rules_of_others() -> None:
    existing = (
        f"-A POSTROUTING -j {CHAIN}0\n"  # another network's chain
        f"-A FORWARD -j {CHAIN} --goto\n"
        f"-A DOCKER-USER -j {CHAIN}\n"  # from another place
    )
    assert render_repair(calc_iptables(RULES, 4), existing).count(f"-j {CHAIN}\n") == 3
    assert "-D" not in render_repair(calc_iptables(RULES, 4), existing)


def test_teardown_of_what_should_be_there() -> None:
    for (table, hook), link in zip(TABLES.items(), ("", "", "-i br0 "), strict=True):
        assert table_of(render_teardown(calc_iptables(RULES, 4)), table) == [
            f"-D {hook} {link}{JUMP}",
            f"-F {CHAIN}",
            f"-X {CHAIN}",
        ]


@pytest.mark.parametrize(
    ("existing", "nat", "forward"),
    [(EMPTY, 0, 0), (ALL_THERE, 1, 1), (NAT_JUMP, 1, 0), (ALL_THERE * 3, 3, 3)],
)
def test_teardown_of_what_is_there(existing: str, nat: int, forward: int) -> None:
    text = render_removal(REMAINS, existing)
    assert text.count(f"-D POSTROUTING {JUMP}\n") == nat
    assert text.count(f"-D FORWARD {JUMP}\n") == forward
    # A chain that is missing is made first, so that removing it cannot fail.
    assert text.count(f":{CHAIN} - [0:0]\n-") == 3
    assert text.count(f"-F {CHAIN}\n-X {CHAIN}\nCOMMIT\n") == 3


def test_the_teardown_of_what_is_there_does_not_depend_on_the_bridge() -> None:
    assert f"-D PREROUTING -i br0 {JUMP}" in render_removal(REMAINS, ALL_THERE)


def test_the_listing_asks_for_all_hooks() -> None:
    for table, hook in TABLES.items():
        assert table_of(render_list(REMAINS), table) == [f"-S {hook}"]


@pytest.mark.parametrize(
    "text",
    [
        render_setup(calc_iptables(RULES, 4)),
        render_check(calc_iptables(RULES, 4)),
        render_repair(calc_iptables(RULES, 4), EMPTY),
        render_teardown(calc_iptables(RULES, 4)),
        render_list(REMAINS),
    ],
)
def test_each_table_is_one_whole_transaction(text: str) -> None:
    lines = _without_listing(text)
    assert [line for line in lines if line.startswith("*") or line == "COMMIT"] == [
        "*filter",
        "COMMIT",
        "*nat",
        "COMMIT",
        "*raw",
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
    assert lines.index(ISOLATION) < min(i for i, line in enumerate(lines) if line.endswith("-j ACCEPT"))
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
            *TO_ADMIN,
            ISOLATION,
            f"-I FORWARD 1 {JUMP}",
        ]
        tables = {4: ["*filter", "*raw"], 6: ["*filter"]}[version]
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
    assert table_of(render_setup(strict), "mangle") == [
        f"-N {CHAIN}-S",
        f"-A {CHAIN}-S -i br0 ! -o br0 -m devgroup --dst-group 0x5b18/0xfffffffc {opened}",
        f"-A {CHAIN}-S ! -i br0 -o br0 -m devgroup --src-group 0x5b18/0xfffffffc {opened}",
        f"-I FORWARD 1 {jump}",
    ]
    assert strict.chains[:-1][0].rules == calc_iptables(RULES, version).chains[0].rules
    # Its jump is told from that in filter.
    existing = f"{ALL_THERE}-A FORWARD -j OTHER\n-A FORWARD {jump}\n"
    assert not [line for line in render_repair(strict, existing).splitlines() if line.endswith(jump)]
    assert table_of(render_removal(strict, existing), "mangle")[1] == f"-D FORWARD {jump}"
    assert table_of(render_removal(strict, existing), "filter")[1] == f"-D FORWARD {JUMP}"


def test_every_group_of_networks_and_no_other_is_covered() -> None:
    """By the mask of iptables and the range of nft."""
    groups, others = set(NETWORK_GROUPS.values()), {0, 1, INTERNAL_GROUP, 0x5B17}
    assert {group & 0xFFFFFFFC for group in groups} == {0x5B18}
    assert groups <= set(range(23320, 23324))
    assert not {group for group in others if group & 0xFFFFFFFC == 0x5B18}


def test_the_chain_of_a_network_that_was_strict_is_emptied() -> None:
    former = calc_iptables(NetworkRules("net", ["br0"], RULES.subnets, was_strict=True), 4)
    assert table_of(render_repair(former, ALL_THERE), "mangle")[0] == f":{CHAIN}-S - [0:0]"
    assert "DROP" not in "".join(table_of(render_repair(former, ALL_THERE), "mangle"))


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
        assert lines.index("-N SHIBAFU-ADMIN") < lines.index(TO_ADMIN[0])
    for text in (
        render_setup(calc_iptables(RULES, 4)),
        render_repair(calc_iptables(RULES, 4), EMPTY),
        render_removal(REMAINS, ALL_THERE),
    ):
        lines = [line for line in text.splitlines() if "SHIBAFU-ADMIN" in line]
        assert set(lines) <= set(TO_ADMIN)


def test_the_rule_that_a_check_did_not_find_is_named() -> None:
    """By the line that the program complains of: of either variant's complaint."""
    ruleset = calc_iptables(RULES, 4)
    rule = f"{CHAIN} -s 10.10.0.0/24 ! -d 224.0.0.0/4 -j MASQUERADE"
    number = render_check(ruleset).splitlines().index(f"-C {rule}") + 1
    for end in ("", ": Bad rule (does a matching rule exist in that chain?)."):
        complaint = f"iptables-restore: line {number} failed{end}\n"
        assert find_missing(ruleset, complaint) == f"table nat lacks the rule: -A {rule}"
    for complaint in ("", "Error occurred at line: 4\n", "line 0 failed", "line 99 failed", "line x failed"):
        assert find_missing(ruleset, complaint) == ""


def print_all(rules: list[str]) -> str:
    """Return what a check of IPv4 prints where table filter has these rules, and all others are right."""
    lines = []
    for chain in calc_iptables(RULES, 4).chains:
        lines.append(f"-N {CHAIN}")
        lines += [f"-A {CHAIN} {rule}" for rule in (rules if chain.table == "filter" else chain.rules)]
        lines += ["-P FORWARD ACCEPT", f"-A FORWARD {JUMP}"] if chain.table == "filter" else []
    return "\n".join(lines) + "\n"


def test_rules_that_do_not_belong_there() -> None:
    ruleset = calc_iptables(RULES, 4)
    rules = ruleset.chains[0].rules
    assert find_stray(ruleset, print_all(rules)) == ""
    # In what words iptables lists a rule does not matter.
    assert find_stray(ruleset, print_all([rules[0].replace("-i br0", "-i  br0"), *rules[1:]])) == ""
    for others in (["-j ACCEPT", *rules], [*rules, "-j ACCEPT"], [rules[-1], *rules[:-1]], rules[:-1]):
        assert find_stray(ruleset, print_all(others)).startswith(f"chain {CHAIN} of table filter ")


def test_networks_do_not_share_anything() -> None:
    other = NetworkRules("net2", ["br0"], RULES.subnets)
    assert other.chain != RULES.chain
    for mine, others in zip(calc_iptables(RULES, 4).chains, calc_iptables(other, 4).chains, strict=True):
        assert mine.jumps != others.jumps
