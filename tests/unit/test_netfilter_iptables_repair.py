"""What is missing of a network's rules is made, and what is there removed: text in, text out."""

import re

import pytest

from shibafu.netfilter.network_rulesets import calc_iptables, calc_iptables_remains
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
from support.network_rules import (
    ALL_THERE,
    CHAIN,
    EMPTY,
    FORWARD_JUMPS,
    FORWARDS,
    INPUT,
    JUMP,
    NAT_JUMP,
    PREROUTING,
    RULES,
    SPOOFED,
    TABLES,
    insert,
    table_of,
)

REMAINS = calc_iptables_remains("net", was_strict=False)
DOCKER, STAGE_1, CNI = (
    "-j DOCKER-USER",
    '-m comment --comment "a -j b" -j CNI-ISOLATION-STAGE-1',
    "-j CNI-FORWARD",
)
# What an earlier release left, as far as it is told from today's.
FORMER = (
    f"-A FORWARD {JUMP}\n{NAT_JUMP}\n-N {CHAIN}\n-A PREROUTING -i br0 {JUMP}\n"
    f"-A {CHAIN} -m rpfilter --invert -j MARK --set-xmark {SPOOFED}\n"
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
