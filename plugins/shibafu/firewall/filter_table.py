"""The table filter of iptables, of one family: how it is, how it is to be, and the way from one to the other.

FORWARD comes to CNI-ISOLATION-STAGE-1, which drops, and to CNI-FORWARD, which leads to the administrators'
chains and has the rules of containers that the reference's plugin lets through. Then it comes to the rules of
shibafu-bridge, and at last to the networks' chains that accept: what isolates a network is before all that
lets it through. What is shared with the reference's plugin is so to the letter: each finds what the other has
made.
"""

from shibafu.cni.names import calc_comment
from shibafu.firewall.config import ISOLATED_CONTAINERS
from shibafu.firewall.needs import Needs, calc_forward_chain, is_forward_chain
from shibafu.lean.ip import Cidr, parse_cidr
from shibafu.netfilter.render_iptables import PRECEDING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    # The rules of each chain, in their order and as iptables lists them.
    Rules = dict[str, list[str]]

_FORWARD, _ENTRY = "FORWARD", "CNI-FORWARD"
_STAGE_1, _STAGE_2 = "CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2"
_SHARED = (_ENTRY, _STAGE_1, _STAGE_2)
_ADMIN_JUMP = '-m comment --comment "CNI firewall plugin admin overrides" -j '
_STAGE_COMMENT = '-m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge)" -j '
_STAGE_JUMP = f"{_STAGE_COMMENT}{_STAGE_1}"
_ENTRY_JUMP = f'-m comment --comment "CNI firewall plugin rules" -j {_ENTRY}'
# What FORWARD has, in its order.
_JUMPS = (_STAGE_JUMP, _ENTRY_JUMP)
_STAGE_END = f"{_STAGE_COMMENT}RETURN"
_KNOWN = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
# What rules of shibafu-bridge have that lead to its chains, or accept.
_OURS = '--comment "shibafu network '


def parse_rules(listed: str) -> "Rules":
    """Return the chains that iptables lists with `-S`."""
    rules: Rules = {}
    for line in listed.splitlines():
        option, _, rest = line.partition(" ")
        name, _, rule = rest.partition(" ")
        if option in ("-N", "-P"):
            rules.setdefault(name, [])
        elif option == "-A":
            rules.setdefault(name, []).append(rule)
    return rules


def calc_host_cidr(address: Cidr) -> Cidr:
    """Return an address by itself, whatever its subnet."""
    return Cidr(address.address, address.address.bits)


def calc_container_rules(address: Cidr) -> list[str]:
    """Return the rules that the reference has for one address of one container."""
    own = calc_host_cidr(address)
    return [f"-d {own} {_KNOWN}", f"-s {own} -j ACCEPT"]


def calc_wanted(needs: Needs, version: int) -> "Rules":
    """Return the rules that there are to be, of a network or shared with others, in their order."""
    wanted: Rules = {_FORWARD: []}
    own = f'-m comment --comment "{needs.comment}" -j '
    if needs.bridges:
        leaving = "-i {0} " if needs.policy == ISOLATED_CONTAINERS else "-i {0} ! -o {0} "
        wanted[_FORWARD].append(_STAGE_JUMP)
        wanted[_STAGE_1] = [f"{leaving.format(name)}{own}{_STAGE_2}" for name in needs.bridges]
        wanted[_STAGE_2] = [f"-o {name} {own}DROP" for name in needs.bridges]
        for chain in (_STAGE_1, _STAGE_2):
            wanted[chain].append(_STAGE_END)
    if needs.has_accepted(version):
        wanted[_FORWARD] += [_ENTRY_JUMP, own + needs.chain]
        wanted[_ENTRY] = [_ADMIN_JUMP + needs.admin_chain]
        wanted[needs.chain] = _calc_accepting(needs, version)
    return wanted


def calc_expected(needs: Needs, version: int) -> "Rules":
    """Return the rules that there are where nobody but one network has made any."""
    wanted = calc_wanted(needs, version)
    return {**wanted, needs.admin_chain: []} if _ENTRY in wanted else wanted


def _calc_accepting(needs: Needs, version: int) -> list[str]:
    rules = []
    for subnet in needs.subnets:
        if subnet.version == version:
            rules.append(f"-d {subnet} {_KNOWN}")
            rules += [f"-s {subnet} -i {link} -j ACCEPT" for link in needs.links]
    for address in needs.addresses:
        if address.version == version:
            rules += calc_container_rules(address)
    return rules


def calc_update(
    before: "Rules",
    network: str,
    wanted: "Rules",
    others: "Collection[Needs]" = (),
    released: "Collection[str]" = (),
    departed: "Collection[str]" = (),
) -> "Rules":
    """Return the rules of the chains that concern a network as they are to be; what is not in it is to go.

    Args:
        before: the rules that there are, of all chains.
        network: the network.
        wanted: what it needs; nothing to remove it.
        others: what other networks of ours need.
        released: bridges that the reference's rules need not keep apart any more.
        departed: rules of containers that the reference had attached.
    """
    own = f'--comment "{calc_comment(network)}" '
    chain = calc_forward_chain(network)
    after: Rules = {}
    for stage in (_STAGE_1, _STAGE_2):
        after[stage] = _calc_stage(before.get(stage, []), wanted.get(stage, []), own, released)
    entry = _calc_entry(before.get(_ENTRY, []), wanted.get(_ENTRY, []), others, departed)
    after[_ENTRY] = entry
    jumps = [jump for jump in _JUMPS if after[_find_target(jump)]]
    # An empty one stays where somebody else has made a rule that leads to it.
    after = {name: rules for name, rules in after.items() if rules or _is_used_by_others(before, name)}
    forward = _place_jumps(before.get(_FORWARD, []), jumps)
    after[_FORWARD] = _place_own(forward, network, chain in wanted)
    if chain in wanted:
        after[chain] = wanted[chain]
    for name in _list_admin_chains(before.get(_ENTRY, []) + entry):
        if _ADMIN_JUMP + name in entry or before.get(name) or _is_used_by_others(before, name):
            after[name] = before.get(name, [])
    return after


def _calc_entry(
    before: list[str], wanted: list[str], others: "Collection[Needs]", departed: "Collection[str]"
) -> list[str]:
    """Return the rules of CNI-FORWARD: the administrators' first; none when nobody has a container."""
    present = [rule for rule in before if rule not in departed]
    admin = [rule for rule in present if rule.startswith(_ADMIN_JUMP)]
    accepting = [rule for rule in present if not rule.startswith(_ADMIN_JUMP)]
    if not accepting:
        # The reference's containers do not tell which of these they need.
        needed = {_ADMIN_JUMP + one.admin_chain for one in others}
        admin = [rule for rule in admin if rule in needed]
    return list(dict.fromkeys(wanted + admin + accepting))


def _calc_stage(before: list[str], wanted: list[str], own: str, released: "Collection[str]") -> list[str]:
    """Return the rules of one of the isolating chains; none when no bridge is left.

    Between those of different bridges the order makes no difference.
    """
    others = [rule for rule in before if own not in rule and rule != _STAGE_END]
    kept = [rule for rule in others if _OURS in rule or _find_link(rule) not in released]
    rules = list(dict.fromkeys([*wanted[:-1], *kept]))
    return [*rules, _STAGE_END] if rules else []


def _place_jumps(rules: list[str], jumps: list[str]) -> list[str]:
    """Return the rules of FORWARD with jumps that come in their order, and before what is ours."""
    present = [rule for rule in rules if rule in _JUMPS]
    leading = rules[: next((i for i, rule in enumerate(rules) if _OURS in rule), len(rules))]
    if present == jumps and set(jumps) <= set(leading):
        return rules
    return jumps + [rule for rule in rules if rule not in _JUMPS]


def _place_own(rules: list[str], network: str, is_wanted: bool) -> list[str]:
    """Return the rules of FORWARD with the jump to a network's chain, if wanted, behind what isolates."""
    jump = _calc_network_jump(network)
    rest = [rule for rule in rules if rule != jump]
    if not is_wanted:
        return rest
    before = [i for i, rule in enumerate(rest) if _find_target(rule) in PRECEDING or _is_bridge_rule(rule)]
    place = max(before, default=-1) + 1
    if rules.count(jump) == 1 and rules.index(jump) >= place:
        return rules
    return [*rest[:place], jump, *rest[place:]]


def _calc_network_jump(network: str) -> str:
    return f'-m comment --comment "{calc_comment(network)}" -j {calc_forward_chain(network)}'


def _is_bridge_rule(rule: str) -> bool:
    """Return whether a rule of FORWARD is shibafu-bridge's."""
    return _OURS in rule and not is_forward_chain(_find_target(rule))


def _is_used_by_others(rules: "Rules", name: str) -> bool:
    """Return whether a rule leads to a chain that neither this nor the reference's plugin has made."""
    ours = (_ENTRY, _STAGE_1)
    listed = (rule for chain, found in rules.items() if chain not in ours for rule in found)
    return any(_find_target(rule) == name for rule in listed if rule not in _JUMPS)


def _find_target(rule: str) -> str:
    # It may have no condition.
    return f" {rule}".rpartition(" -j ")[2]


def _find_link(rule: str) -> str:
    """Return the link that a rule begins with; empty where it does with something else."""
    option, _, rest = rule.partition(" ")
    return rest.partition(" ")[0] if option in ("-i", "-o") else ""


def _list_admin_chains(entry: list[str]) -> list[str]:
    return list(dict.fromkeys(_find_target(rule) for rule in entry if rule.startswith(_ADMIN_JUMP)))


def render_update(before: "Rules", after: "Rules", network: str) -> str:
    """Return the input of iptables-restore(8) that makes one of the other; empty where nothing changes.

    Args:
        before: the rules of all chains.
        after: those that concern a network.
        network: the network.
    """
    own = calc_forward_chain(network)
    known = [*_SHARED, own, *_list_admin_chains(before.get(_ENTRY, []))]
    doomed = [chain for chain in known if chain in before and chain not in after]
    lines = [f"-N {chain}" for chain in after if chain not in before]
    for chain, rules in after.items():
        lines += _render_edit(chain, before.get(chain, []), rules)
    for chain in doomed:
        # Others may add rules to what is shared, and then keep it. To name each rule takes its extensions.
        lines += [f"-F {chain}"] if chain == own else _render_edit(chain, before[chain], [])
    lines += [f"-X {chain}" for chain in doomed]
    return "\n".join(["*filter", *lines, "COMMIT", ""]) if lines else ""


def _render_edit(chain: str, before: list[str], after: list[str]) -> list[str]:
    """Return the lines that change what is different, and leave the rest, of which others may add more."""
    lines, current = [], []
    for rule in before:
        if rule in after and rule not in current:
            current.append(rule)
        else:
            lines.append(f"-D {chain} {rule}")
    for i, rule in enumerate(after):
        if current[i : i + 1] == [rule]:
            continue
        if rule in current:
            lines.append(f"-D {chain} {rule}")
            current.remove(rule)
        lines.append(f"-I {chain} {i + 1} {rule}")
        current.insert(i, rule)
    return lines


def render_look(wanted: "Rules", admin_chain: str) -> str:
    """Return the input that succeeds when wanted rules are there, and prints their chains and FORWARD."""
    lines = ["*filter"]
    for chain, rules in wanted.items():
        lines += [f"-C {chain} {rule}" for rule in rules]
        lines.append(f"-S {chain}")
    if _ENTRY in wanted:
        lines.append(f"-S {admin_chain}")
    return "\n".join([*lines, "COMMIT", ""])


def find_missing_rule(wanted: "Rules", admin_chain: str, complaint: str) -> str:
    """Return the rule that a look did not find, in words; empty if its complaint does not tell."""
    number = complaint.partition("line")[2].partition("failed")[0].strip(" :\n")
    lines = render_look(wanted, admin_chain).splitlines()
    if not number.isdecimal() or not 0 < int(number) <= len(lines):
        return ""
    line = lines[int(number) - 1]
    return f"table filter lacks the rule: {line.replace('-C ', '-A ', 1)}" if line.startswith("-C ") else ""


def find_disorder(network: str, wanted: "Rules", listed: "Rules") -> str:
    """Return in words what is there, but not as it is to be; empty where all is.

    Args:
        network: the network.
        wanted: rules that were found.
        listed: the chains that they are in.
    """
    forward = listed[_FORWARD]
    if _place_jumps(forward, [jump for jump in _JUMPS if jump in forward]) != forward:
        return f"chain {_FORWARD} comes to other rules of shibafu first"
    if _place_own(forward, network, calc_forward_chain(network) in wanted) != forward:
        return f"chain {_FORWARD} comes to chain {calc_forward_chain(network)} too early"
    for chain in wanted:
        rules = listed[chain]
        if chain == _ENTRY and not _comes_first(rules, wanted[chain][0]):
            return f"chain {chain} comes to chain {_find_target(wanted[chain][0])} too late"
        if chain in (_STAGE_1, _STAGE_2) and rules.index(_STAGE_END) < max(map(rules.index, wanted[chain])):
            return f"chain {chain} returns too early"
        if chain not in (_FORWARD, *_SHARED) and rules != wanted[chain]:
            return f"chain {chain} contains other rules or is out of order"
    return ""


def _comes_first(rules: list[str], jump: str) -> bool:
    """Return whether an administrator's chain comes before all that accepts."""
    return all(rule.startswith(_ADMIN_JUMP) for rule in rules[: rules.index(jump)])


def find_isolated_bridges(rules: "Rules") -> list[str]:
    """Return the bridges that the reference's rules keep apart."""
    listed = rules.get(_STAGE_1, []) + rules.get(_STAGE_2, [])
    found = dict.fromkeys(_find_link(rule) for rule in listed if _OURS not in rule)
    return [name for name in found if name]


def has_container_rules(
    rules: "Rules", addresses: "Iterable[Cidr]", admin_chain: str, bridges: "Iterable[str]"
) -> bool:
    """Return whether the reference's rules let a container's addresses through, and keep bridges apart."""
    entry = rules.get(_ENTRY, [])
    needed = [rule for address in addresses for rule in calc_container_rules(address)]
    is_reached = _ENTRY_JUMP in rules.get(_FORWARD, []) and _ADMIN_JUMP + admin_chain in entry
    is_apart = set(bridges) <= set(find_isolated_bridges(rules))
    return (is_reached or not needed) and is_apart and all(rule in entry for rule in needed)


def find_own_rules(rules: "Rules", network: str) -> "Rules":
    """Return what there is of a network's rules, as `calc_wanted` would return it."""
    own = f'--comment "{calc_comment(network)}" '
    found: Rules = {}
    for chain in (_STAGE_1, _STAGE_2):
        stage = [rule for rule in rules.get(chain, []) if own in rule]
        if stage:
            found[chain] = [*stage, _STAGE_END]
    admin = [rule for rule in rules.get(_ENTRY, []) if rule.startswith(_ADMIN_JUMP)]
    if _calc_network_jump(network) in rules.get(_FORWARD, []):
        found[_ENTRY] = admin
        found[calc_forward_chain(network)] = rules.get(calc_forward_chain(network), [])
    return found


def find_source_links(rules: "Rules") -> list[str]:
    """Return the links that rules accept packets from, or keep apart."""
    words = [rule.split(" ") for found in rules.values() for rule in found]
    return list(dict.fromkeys(rule[rule.index("-i") + 1] for rule in words if "-i" in rule[:-1]))


def list_sources(rules: "Rules") -> "dict[str, Cidr]":
    """Return each rule by which the reference lets a container send, and the container's address."""
    found = {}
    for rule in rules.get(_ENTRY, []):
        option, _, rest = rule.partition(" ")
        address, _, action = rest.partition(" ")
        if option == "-s" and action == "-j ACCEPT":
            found[rule] = parse_cidr(address)
    return found
