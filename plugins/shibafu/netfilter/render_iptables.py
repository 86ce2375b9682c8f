"""Rulesets as input of iptables-restore(8), and compared with what it prints.

A ruleset is of one family. One process checks all of it with `-C` lines, and lists its chains and FORWARD for
their order (3 ms beside other work, where one process for each rule is what makes others slow).
iptables-restore works the same with the nft and the legacy variant, both of which were tried.
"""

from shibafu.netfilter.ruleset import Chain, Ruleset

# The chains of the reference's firewall plugin and of Docker that drop packets, or lead to an administrator's
# chain that does (CNI-ADMIN): what FORWARD accepts for us must not have overtaken them.
PRECEDING = ("CNI-ISOLATION-STAGE-1", "CNI-FORWARD", "DOCKER-USER")


def render_check(ruleset: Ruleset) -> str:
    """Return the input that succeeds when all rules are there, and prints their chains and FORWARD."""
    lines = []
    for chain in ruleset.chains:
        lines.append(f"*{chain.table}")
        lines += [f"-C {chain.hook} {jump}" for jump in chain.jumps]
        lines += [f"-C {chain.name} {rule}" for rule in chain.rules]
        lines += [f"-S {chain.name}", *(["-S FORWARD"] if chain.table == "filter" else []), "COMMIT"]
    return "\n".join(lines) + "\n"


def find_missing(ruleset: Ruleset, complaint: str) -> str:
    """Return the rule that a check did not find, in words; empty if its complaint does not tell."""
    number = complaint.partition("line ")[2].partition(" failed")[0]
    lines = render_check(ruleset).splitlines()
    if not number.isdecimal() or not 0 < int(number) <= len(lines):
        return ""
    line = lines[int(number) - 1]
    table = next(before[1:] for before in reversed(lines[: int(number)]) if before.startswith("*"))
    return f"table {table} lacks the rule: {line.replace('-C ', '-A ', 1)}"


def find_stray(ruleset: Ruleset, printed: str) -> str:
    """Return in words a chain with other rules, or with its own out of order; empty if there is none.

    Args:
        ruleset: one whose check succeeded.
        printed: what that printed.
    """
    listed: list[list[str]] = []
    head = ""
    for line in printed.splitlines():
        if line.startswith("-N "):
            head = f"-A {line.removeprefix('-N ')} "
            listed.append([])
        elif head and line.startswith(head):
            listed[-1].append(_calc_target(line))
    for chain, targets in zip(ruleset.chains, listed, strict=False):
        # iptables prints a rule as it likes: it has found each by itself, and these tell their order.
        if targets != [_calc_target(rule) for rule in chain.rules]:
            return f"chain {chain.name} of table {chain.table} contains other rules or is out of order"
    return ""


def render_setup(ruleset: Ruleset, has_shared: bool = True) -> str:
    """Return the input that makes a ruleset, at the top of FORWARD, and prints what is there then.

    It fails when one of its chains is already there. (To have it fail where a chain is that must come before,
    by making and removing that, would cost the nft variant the 20 ms of a removal.)

    Args:
        ruleset: what is wanted.
        has_shared: whether the shared chain is there; it fails when that is not so.
    """
    lines = []
    for chain in ruleset.chains:
        lines += [f"*{chain.table}", *_make_shared(ruleset, chain, has_shared), f"-N {chain.name}"]
        lines += [f"-A {chain.name} {rule}" for rule in chain.rules]
        lines += [f"{_calc_place(chain, [])} {jump}" for jump in chain.jumps]
        lines.append("COMMIT")
    # By itself: the nft variant does not make FORWARD, if it has to, for a transaction that lists it.
    lines += ["*filter", "-S FORWARD", "COMMIT"]
    return "\n".join(lines) + "\n"


def _make_shared(ruleset: Ruleset, chain: Chain, has_shared: bool) -> list[str]:
    is_made = chain.table == "filter" and ruleset.shared and not has_shared
    return [f"-N {ruleset.shared}"] if is_made else []


def render_repair(ruleset: Ruleset, existing: str, has_shared: bool = True) -> str:
    """Return the input that makes a ruleset out of whatever is left of it.

    Args:
        ruleset: what is wanted.
        existing: the rules of the hooks, as `render_list` makes them printed.
        has_shared: whether the shared chain is there; it fails when that is not so.
    """
    lines = []
    for chain in ruleset.chains:
        # ":chain" makes the chain, or empties the one that is there.
        lines += [f"*{chain.table}", f":{chain.name} - [0:0]", *_make_shared(ruleset, chain, has_shared)]
        lines += [f"-A {chain.name} {rule}" for rule in chain.rules]
        present = _find_jumps(existing, chain.hook, chain.name)
        if present != chain.jumps or find_overtaken(existing, chain.name):
            lines += [f"-D {chain.hook} {jump}" for jump in present]
            others = [rule for rule in _list_hook(existing, chain.hook) if rule not in present]
            lines += [f"{_calc_place(chain, others)} {jump}" for jump in chain.jumps]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def _calc_place(chain: Chain, rules: list[str]) -> str:
    """Return the command that puts a jump where it takes effect, among the hook's other rules.

    In filter directly behind what must come before it; not at the end, since many a firewall's last rule
    there rejects.
    """
    if chain.table == "nat":
        return f"-A {chain.hook}"
    before = [i for i, rule in enumerate(rules, 1) if _calc_target(rule) in PRECEDING]
    return f"-I {chain.hook} {max(before, default=0) + 1 if chain.table == 'filter' else 1}"


def find_overtaken(existing: str, name: str) -> str:
    """Return a chain of `PRECEDING` that FORWARD comes to after a ruleset's; empty if there is none."""
    targets = [_calc_target(rule) for rule in _list_hook(existing, "FORWARD")]
    behind = targets[targets.index(name) :] if name in targets else []
    return next((target for target in behind if target in PRECEDING), "")


def render_teardown(ruleset: Ruleset) -> str:
    """Return the input that removes a ruleset; it fails when anything of it is missing."""
    lines = []
    for chain in ruleset.chains:
        lines += [f"*{chain.table}", *(f"-D {chain.hook} {jump}" for jump in chain.jumps)]
        lines += [f"-F {chain.name}", f"-X {chain.name}", "COMMIT"]
    return "\n".join(lines) + "\n"


def render_removal(ruleset: Ruleset, existing: str) -> str:
    """Return the input that removes a ruleset's chains, whatever of it and the jumps is missing or doubled.

    Args:
        ruleset: what is removed.
        existing: the rules of its hooks, as `render_list` makes them printed.
    """
    lines = []
    for chain in ruleset.chains:
        # Makes a chain that is missing, so that all can be removed in the same way.
        lines += [f"*{chain.table}", f":{chain.name} - [0:0]"]
        lines += [f"-D {chain.hook} {jump}" for jump in _find_jumps(existing, chain.hook, chain.name)]
        lines += [f"-F {chain.name}", f"-X {chain.name}", "COMMIT"]
    return "\n".join(lines) + "\n"


def render_shared_teardown(chain: str) -> str:
    """Return the input that removes a shared chain; it fails if that has rules, or is in use."""
    return f"*filter\n-X {chain}\nCOMMIT\n"


def render_list(ruleset: Ruleset) -> str:
    """Return the input that prints the rules of a ruleset's hooks, with `-S` as in iptables(8)."""
    return "".join(f"*{chain.table}\n-S {chain.hook}\nCOMMIT\n" for chain in ruleset.chains)


def _list_hook(existing: str, hook: str) -> list[str]:
    """Return the rules of a hook out of what `render_list` makes printed."""
    head = f"-A {hook} "
    return [line.removeprefix(head) for line in existing.splitlines() if line.startswith(head)]


def _find_jumps(existing: str, hook: str, chain: str) -> list[str]:
    return [rule for rule in _list_hook(existing, hook) if _calc_target(rule) == chain]


def _calc_target(rule: str) -> str:
    """Return where a rule jumps to; empty for one that has a target with options."""
    head, _, target = rule.rpartition(" ")
    return target if head == "-j" or head.endswith(" -j") else ""
