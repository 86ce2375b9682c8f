"""The rules of a network as iptables-restore gets them: text in, text out."""

import re

import pytest

from shibafu.cni.names import INTERNAL_GROUP, ISOLATED, NETWORK_GROUPS, STRICT
from shibafu.lean.ip import parse_cidr
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
COMMENT = '-m comment --comment "shibafu network net"'
JUMP = f"{COMMENT} -j {CHAIN}"
ISOLATION = (
    f"-A {CHAIN} -i br0 ! -o br0 -m devgroup --dst-group 0x5b1b"
    " -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
)
LISTING = ["*filter", "-S FORWARD", "COMMIT"]
# The administrator's chain comes first.
TO_ADMIN = f"-A {CHAIN} -j SHIBAFU-ADMIN"
LOOPBACK = [f"-A {CHAIN} -{side} 127.0.0.0/8 -j DROP" for side in "sd"]
TABLES = {"filter": ["FORWARD"], "nat": ["POSTROUTING"], "mangle": ["PREROUTING", "INPUT"]}
SPOOFED = "0x5b1b0000/0xffff0000"
KNOWN = "-m conntrack --ctstate RELATED,ESTABLISHED"
# What iptables -S prints of the hooks.
OPENED = f"{COMMENT} {KNOWN} --ctorigsrc 10.10.0.0/24"
FORWARDS = [
    f"{OPENED} -j SHIBAFU-ADMIN",
    f"! -s 127.0.0.0/8 -o br0 {OPENED} -j ACCEPT",
    f"! -s 127.0.0.0/8 -i br0 {OPENED} -j ACCEPT",
    f"-i br0 {JUMP}",
    f"! -i br0 -o br0 {JUMP}",
]
PREROUTING = f"-i br0 {COMMENT} -m conntrack ! --ctstate RELATED,ESTABLISHED -j {CHAIN}-P"
INPUT = f"-i br0 {JUMP}-I"
NAT_JUMP, PREROUTING_JUMP, INPUT_JUMP = (
    f"-A POSTROUTING {JUMP}",
    f"-A PREROUTING {PREROUTING}",
    f"-A INPUT {INPUT}",
)
FORWARD_JUMPS = "\n".join(f"-A FORWARD {rule}" for rule in FORWARDS)
EMPTY = "".join(f"-P {hook} ACCEPT\n" for hooks in TABLES.values() for hook in hooks)
ALL_THERE = "\n".join([EMPTY + NAT_JUMP, FORWARD_JUMPS, PREROUTING_JUMP, INPUT_JUMP]) + "\n"
# What an earlier release left, as far as it is told from today's.
FORMER = (
    f"-A FORWARD {JUMP}\n{NAT_JUMP}\n-N {CHAIN}\n-A PREROUTING -i br0 {JUMP}\n"
    f"-A {CHAIN} -m rpfilter --invert -j MARK --set-xmark {SPOOFED}\n"
)


def table_of(text: str, table: str) -> list[str]:
    """Return the lines of one table's transaction."""
    lines = text.splitlines()
    begin = lines.index(f"*{table}") + 1
    return lines[begin : lines.index("COMMIT", begin)]


def _without_listing(text: str) -> list[str]:
    """Return the lines without what setup ends with."""
    lines = text.splitlines()
    return lines[: -len(LISTING)] if lines[-len(LISTING) :] == LISTING and len(lines) > 9 else lines


def insert(hook: str, rules: list[str], first: int = 1) -> list[str]:
    """Return the lines that put rules into a chain of the kernel's, in their order."""
    return [f"-I {hook} {place} {rule}" for place, rule in enumerate(rules, first)]


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


def test_repair_of_nothing_makes_all() -> None:
    text = render_repair(calc_iptables(RULES, 4), EMPTY)
    for table in TABLES:
        setup = table_of(render_setup(calc_iptables(RULES, 4)), table)
        assert table_of(text, table) == [re.sub("^-N (.*)", r":\1 - [0:0]", line) for line in setup]


@pytest.mark.parametrize(
    ("existing", "jumps"),
    [
        (EMPTY, [*insert("FORWARD", FORWARDS), NAT_JUMP, f"-I PREROUTING 1 {PREROUTING}"]),
        (NAT_JUMP, [*insert("FORWARD", FORWARDS), f"-I PREROUTING 1 {PREROUTING}"]),
        (FORWARD_JUMPS, [NAT_JUMP, f"-I PREROUTING 1 {PREROUTING}"]),
        (ALL_THERE, []),
        (f"{ALL_THERE}{NAT_JUMP}\n", [f"-D POSTROUTING {JUMP}"] * 2 + [NAT_JUMP]),
        (
            ALL_THERE.replace("PREROUTING -i br0", "PREROUTING -i br1"),
            [f"-D PREROUTING {PREROUTING.replace('br0', 'br1')}", f"-I PREROUTING 1 {PREROUTING}"],
        ),
        # One is missing, or they are out of order: all are put there again.
        *(
            (
                ALL_THERE.replace(FORWARD_JUMPS, "\n".join(f"-A FORWARD {rule}" for rule in present)),
                [*(f"-D FORWARD {rule}" for rule in present), *insert("FORWARD", FORWARDS)],
            )
            for present in (FORWARDS[1:], FORWARDS[::-1])
        ),
    ],
)
def test_repair_makes_the_jumps_that_are_missing(existing: str, jumps: list[str]) -> None:
    text = render_repair(calc_iptables(RULES, 4), existing)
    hooks = "FORWARD", "POSTROUTING", "PREROUTING"
    assert [line for line in text.splitlines() if line.split(" ")[1:2] and line.split()[1] in hooks] == jumps
    assert text.count(" - [0:0]") == 4
    assert text.count(f"-A {CHAIN}") == 16


def test_repair_replaces_what_an_earlier_release_made() -> None:
    text = render_repair(calc_iptables(RULES, 4), FORMER)
    assert f"-D FORWARD {JUMP}" in table_of(text, "filter")
    assert not [line for line in table_of(text, "nat") if "POSTROUTING" in line]
    removal = [f"-D PREROUTING -i br0 {JUMP}", f"-F {CHAIN}", f"-X {CHAIN}"]
    assert table_of(text, "raw") == removal
    assert table_of(render_removal(REMAINS, FORMER), "raw") == removal
    # Its chain may have lost its jump, and there may be other networks' chains.
    assert table_of(render_removal(REMAINS, f"-N {CHAIN}\n"), "raw") == removal[1:]
    assert "*raw" not in render_removal(REMAINS, f"{ALL_THERE}-N {CHAIN}0\n")


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
        ([STAGE_1, CNI, "-j OTHER", DOCKER, '-m comment --comment "shibafu network net2" -j ACCEPT'], 5),
        # Ours is taken away before it is put where it belongs.
        ([JUMP, STAGE_1, CNI, "-j REJECT"], 3),
        ([STAGE_1, JUMP, CNI, JUMP, "-j REJECT"], 3),
        ([STAGE_1, FORWARDS[1], CNI, *FORWARDS, "-j REJECT"], 3),
        # Nobody jumps there.
        (["-s 192.0.2.1/32 -m comment --comment DOCKER-USER -j ACCEPT", "-g DOCKER-USER"], 1),
    ],
)
def test_forward_comes_to_ours_directly_behind_what_drops(before: list[str], place: int) -> None:
    existing = "".join(f"-A FORWARD {rule}\n" for rule in before)
    lines = table_of(render_repair(calc_iptables(RULES, 4), existing), "filter")
    assert lines[-len(FORWARDS) :] == insert("FORWARD", FORWARDS, place)


@pytest.mark.parametrize(
    ("rules", "overtaken"),
    [
        ([], ""),
        ([JUMP], ""),
        ([STAGE_1, CNI, DOCKER, JUMP, "-j OTHER"], ""),
        ([STAGE_1, JUMP, CNI], "CNI-FORWARD"),
        ([STAGE_1, FORWARDS[1], CNI, *FORWARDS], "CNI-FORWARD"),
        ([STAGE_1, CNI, *FORWARDS], ""),
        ([JUMP, "-j OTHER", STAGE_1, CNI], "CNI-ISOLATION-STAGE-1"),
        ([JUMP, DOCKER, JUMP], "DOCKER-USER"),
        ([DOCKER], ""),
    ],
)
def test_an_order_that_is_wrong(rules: list[str], overtaken: str) -> None:
    existing = "-P FORWARD DROP\n" + "".join(f"-A FORWARD {rule}\n" for rule in rules)
    ruleset = calc_iptables(RULES, 4)
    assert find_overtaken(existing, ruleset) == overtaken
    if overtaken:
        own = [rule for rule in rules if rule == JUMP or rule in FORWARDS]
        assert [line for line in render_repair(ruleset, existing).splitlines() if line[:3] == "-D "] == [
            f"-D FORWARD {rule}" for rule in own
        ]


def test_repair_is_not_misled_by_rules_of_others() -> None:
    existing = (
        f"-A POSTROUTING -j {CHAIN}0\n"  # another network's chain
        f"-A FORWARD -j {CHAIN} --goto\n"
        f"-A DOCKER-USER -j {CHAIN}\n"  # from another place
    )
    assert render_repair(calc_iptables(RULES, 4), existing).count(f"-j {CHAIN}\n") == 3
    existing += (
        '-A FORWARD -m comment --comment "shibafu network net2" -j ACCEPT\n-A FORWARD -j SHIBAFU-ADMIN\n'
    )
    assert "-D" not in render_repair(calc_iptables(RULES, 4), existing)


def test_teardown_of_what_should_be_there() -> None:
    text = render_teardown(calc_iptables(RULES, 4))
    assert table_of(text, "filter") == [
        *(f"-D FORWARD {rule}" for rule in FORWARDS),
        f"-F {CHAIN}",
        f"-X {CHAIN}",
    ]
    assert table_of(text, "nat") == [f"-D POSTROUTING {JUMP}", f"-F {CHAIN}", f"-X {CHAIN}"]
    assert table_of(text, "mangle") == [
        f"-D PREROUTING {PREROUTING}",
        f"-F {CHAIN}-P",
        f"-X {CHAIN}-P",
        f"-D INPUT {INPUT}",
        f"-F {CHAIN}-I",
        f"-X {CHAIN}-I",
    ]


@pytest.mark.parametrize(
    ("existing", "nat", "forward"),
    [(EMPTY, 0, 0), (ALL_THERE, 1, 1), (NAT_JUMP, 1, 0), (ALL_THERE * 3, 3, 3)],
)
def test_teardown_of_what_is_there(existing: str, nat: int, forward: int) -> None:
    text = render_removal(REMAINS, existing)
    assert text.count(f"-D POSTROUTING {JUMP}\n") == nat
    for rule in FORWARDS:
        assert text.count(f"-D FORWARD {rule}\n") == forward
    # A chain that is missing is made first, so that removing it cannot fail.
    for name, count in ((CHAIN, 2), (f"{CHAIN}-P", 1), (f"{CHAIN}-I", 1)):
        assert text.count(f":{name} - [0:0]\n-") == count
        assert text.count(f"-F {name}\n-X {name}\n") == count


def test_the_teardown_of_what_is_there_does_not_depend_on_the_bridge() -> None:
    assert f"-D PREROUTING {PREROUTING}" in render_removal(REMAINS, ALL_THERE)


def test_the_listing_asks_for_all_hooks() -> None:
    text = render_list(REMAINS)
    asked = [f"*{table}\n-S {hook}\nCOMMIT\n" for table, hooks in TABLES.items() for hook in hooks]
    # Of the table that earlier releases used, also for chains that nothing leads to.
    assert text == "".join(asked) + "*raw\n-S\nCOMMIT\n"


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


def print_all(rules: list[str], forwards: list[str] = FORWARDS) -> str:
    """Return what a check of IPv4 prints where table filter has these rules, and all others are right."""
    lines = []
    for chain in calc_iptables(RULES, 4).chains:
        lines.append(f"-N {chain.name}")
        lines += [f"-A {chain.name} {rule}" for rule in (rules if chain.table == "filter" else chain.rules)]
        if chain.table == "filter":
            lines += ["-P FORWARD ACCEPT", *(f"-A FORWARD {rule}" for rule in forwards)]
    return "\n".join(lines) + "\n"


def test_rules_that_do_not_belong_there() -> None:
    ruleset = calc_iptables(RULES, 4)
    rules = ruleset.chains[0].rules
    assert find_stray(ruleset, print_all(rules)) == ""
    # In what words iptables lists a rule does not matter.
    assert (
        find_stray(ruleset, print_all([*rules[:4], rules[4].replace("-i br0", "-i  br0"), *rules[5:]])) == ""
    )
    for others in (["-j ACCEPT", *rules], [*rules, "-j ACCEPT"], [rules[-1], *rules[:-1]], rules[:-1]):
        assert find_stray(ruleset, print_all(others)).startswith(f"chain {CHAIN} of table filter ")


def test_the_administrator_comes_first_in_forward() -> None:
    """Others' rules may be between the network's own."""
    ruleset = calc_iptables(RULES, 4)
    rules = ruleset.chains[0].rules
    assert (
        find_stray(ruleset, print_all(rules, ["-j OTHER", *FORWARDS[:3], "-j ACCEPT", *FORWARDS[3:]])) == ""
    )
    for wrong in (FORWARDS[::-1], [*FORWARDS[1:3], FORWARDS[0], *FORWARDS[3:]]):
        message = "the network's rules in chain FORWARD of table filter are out of order"
        assert find_stray(ruleset, print_all(rules, wrong)) == message


def test_networks_do_not_share_anything() -> None:
    other = NetworkRules("net2", ["br0"], RULES.subnets)
    assert other.chain != RULES.chain
    for mine, others in zip(calc_iptables(RULES, 4).chains, calc_iptables(other, 4).chains, strict=True):
        assert mine.jumps != others.jumps
