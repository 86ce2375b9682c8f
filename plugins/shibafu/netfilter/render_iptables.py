"""Rulesets as input of iptables-restore(8), and compared with what it prints.

A ruleset is of one family. One process checks all of it with `-C` lines, and lists its chains and FORWARD for
their order (3 ms in parallel with other work, where one process for each rule is what makes others slow).
iptables-restore works the same with the nft and the legacy variant, both of which were tried.
"""

from shibafu.netfilter.ruleset import Chain, Ruleset

# The chains of the reference's firewall plugin and of Docker that drop packets, or lead to an administrator's
# chain that does (CNI-ADMIN): what FORWARD accepts for us must not have overtaken them.
PRECEDING = ("CNI-ISOLATION-STAGE-1", "CNI-FORWARD", "DOCKER-USER")


def render_check(ruleset: Ruleset) -> str:
    """Return the input that succeeds if all rules exist, and prints their chains and FORWARD."""
    lines = []
    for table, chains in ruleset.tables():
        lines.append(f"*{table}")
        for chain in chains:
            lines += [f"-C {chain.hook} {jump}" for jump in chain.jumps]
            lines += [f"-C {chain.name} {rule}" for rule in chain.rules]
            lines.append(f"-S {chain.name}")
        lines += ["-S FORWARD", "COMMIT"] if table == "filter" else ["COMMIT"]
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
        if chain.hook == "FORWARD" and chain.table == "filter":
            leading = [_calc_target(rule) for rule in _find_jumps(printed, ruleset, chain)]
            if leading != [_calc_target(jump) for jump in chain.jumps]:
                return f"the network's rules in chain FORWARD of table {chain.table} are out of order"
    return ""


def render_setup(ruleset: Ruleset, has_shared: bool = True) -> str:
    """Return the input that makes a ruleset, at the top of FORWARD, and prints the result.

    It fails when one of its chains is already there. (To have it fail where a chain is that must come before,
    by making and removing that, would cost the nft variant the 20 ms of a removal.)

    Args:
        ruleset: what is wanted.
        has_shared: whether the shared chain is there; it fails when that is not so.
    """
    lines = []
    for table, chains in ruleset.tables():
        lines += [f"*{table}", *_make_shared(ruleset, table, has_shared)]
        for chain in chains:
            lines.append(f"-N {chain.name}")
            lines += [f"-A {chain.name} {rule}" for rule in chain.rules]
            lines += _place_jumps(chain, [])
        lines.append("COMMIT")
    # By itself: the nft variant does not make FORWARD, if it has to, for a transaction that lists it.
    lines += ["*filter", "-S FORWARD", "COMMIT"]
    return "\n".join(lines) + "\n"


def _make_shared(ruleset: Ruleset, table: str, has_shared: bool) -> list[str]:
    is_made = table == "filter" and ruleset.shared and not has_shared
    return [f"-N {ruleset.shared}"] if is_made else []


def render_repair(ruleset: Ruleset, existing: str, has_shared: bool = True) -> str:
    """Return the input that makes a ruleset out of whatever is left of it.

    Args:
        ruleset: what is wanted.
        existing: the rules of the hooks, as `render_list` makes them printed.
        has_shared: whether the shared chain is there; it fails when that is not so.
    """
    lines = []
    for table, chains in ruleset.tables():
        lines += [f"*{table}", *_make_shared(ruleset, table, has_shared)]
        for chain in chains:
            # Makes the chain, or empties the one that is there.
            lines.append(f":{chain.name} - [0:0]")
            lines += [f"-A {chain.name} {rule}" for rule in chain.rules]
            present = _find_jumps(existing, ruleset, chain)
            if present != chain.jumps or (table == "filter" and find_overtaken(existing, ruleset)):
                lines += [f"-D {chain.hook} {jump}" for jump in present]
                others = [rule for rule in _list_hook(existing, chain.hook) if rule not in present]
                lines += _place_jumps(chain, others)
        lines.append("COMMIT")
    # Only now: the network is never without them.
    return "\n".join(lines + _remove_former(ruleset, existing)) + "\n"


def _place_jumps(chain: Chain, rules: list[str]) -> list[str]:
    """Return the lines that put jumps where they take effect, among the hook's other rules.

    In filter directly behind what must come before them; not at the end, since many a firewall's last rule
    there rejects.
    """
    if chain.table == "nat":
        return [f"-A {chain.hook} {jump}" for jump in chain.jumps]
    before = [i for i, rule in enumerate(rules, 1) if _calc_target(rule) in PRECEDING]
    first = max(before, default=0) + 1 if chain.table == "filter" else 1
    return [f"-I {chain.hook} {place} {jump}" for place, jump in enumerate(chain.jumps, first)]


def find_overtaken(existing: str, ruleset: Ruleset) -> str:
    """Return a chain of `PRECEDING` that FORWARD comes to after a ruleset's rules; empty if there is none."""
    rules = _list_hook(existing, "FORWARD")
    chain = ruleset.chains[0]
    own = [i for i, rule in enumerate(rules) if _leads_to(rule, ruleset, chain)]
    behind = map(_calc_target, rules[own[0] :] if own else [])
    return next((target for target in behind if target in PRECEDING), "")


def render_teardown(ruleset: Ruleset) -> str:
    """Return the input that removes a ruleset; it fails when anything of it is missing."""
    lines = []
    for table, chains in ruleset.tables():
        lines.append(f"*{table}")
        for chain in chains:
            lines += [f"-D {chain.hook} {jump}" for jump in chain.jumps]
            lines += [f"-F {chain.name}", f"-X {chain.name}"]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def render_removal(ruleset: Ruleset, existing: str) -> str:
    """Return the input that removes a ruleset's chains, whatever of it and the jumps is missing or doubled.

    Args:
        ruleset: what is removed.
        existing: the rules of its hooks, as `render_list` makes them printed.
    """
    lines = []
    for table, chains in ruleset.tables():
        lines.append(f"*{table}")
        for chain in chains:
            # Makes a chain that is missing, so that all can be removed in the same way.
            lines += [f":{chain.name} - [0:0]", *_remove_chain(ruleset, chain, existing)]
        lines.append("COMMIT")
    return "\n".join(lines + _remove_former(ruleset, existing)) + "\n"


def _remove_former(ruleset: Ruleset, existing: str) -> list[str]:
    """Return the lines that remove what is there of chains that earlier releases made."""
    lines = []
    for chain in ruleset.former:
        if f"-N {chain.name}" in existing.splitlines():
            lines += [f"*{chain.table}", *_remove_chain(ruleset, chain, existing), "COMMIT"]
    return lines


def _remove_chain(ruleset: Ruleset, chain: Chain, existing: str) -> list[str]:
    jumps = [f"-D {chain.hook} {jump}" for jump in _find_jumps(existing, ruleset, chain)]
    return [*jumps, f"-F {chain.name}", f"-X {chain.name}"]


def render_shared_teardown(chain: str) -> str:
    """Return the input that removes a shared chain; it fails if that has rules, or is in use."""
    return f"*filter\n-X {chain}\nCOMMIT\n"


def render_list(ruleset: Ruleset) -> str:
    """Return the input that prints the rules of a ruleset's hooks, with `-S` as in iptables(8).

    Of the tables of former chains it prints all: they may be there without a jump.
    """
    hooks = [f"*{chain.table}\n-S {chain.hook}\nCOMMIT\n" for chain in ruleset.chains]
    return "".join([*hooks, *(f"*{chain.table}\n-S\nCOMMIT\n" for chain in ruleset.former)])


def _list_hook(existing: str, hook: str) -> list[str]:
    """Return the rules of a hook out of what `render_list` makes printed."""
    head = f"-A {hook} "
    return [line.removeprefix(head) for line in existing.splitlines() if line.startswith(head)]


def _find_jumps(existing: str, ruleset: Ruleset, chain: Chain) -> list[str]:
    """Return the rules of a chain's hook that are the ruleset's, in their order."""
    return [rule for rule in _list_hook(existing, chain.hook) if _leads_to(rule, ruleset, chain)]


def _leads_to(rule: str, ruleset: Ruleset, chain: Chain) -> bool:
    """Return whether a rule of a chain's hook jumps to it, or spares packets the way."""
    target = _calc_target(rule)
    if chain.table == "filter" and target in ("ACCEPT", ruleset.shared):
        return f' --comment "{ruleset.comment}" ' in rule
    return target == chain.name


def _calc_target(rule: str) -> str:
    """Return where a rule jumps to; empty for one that has a target with options."""
    head, _, target = rule.rpartition(" ")
    return target if head == "-j" or head.endswith(" -j") else ""
