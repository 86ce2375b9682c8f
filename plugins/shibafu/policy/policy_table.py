"""The table of all policies and containers, and what has to change for the kernel to have it.

Policies go by addresses. Where several containers have the same one, on networks with the same subnet, what
any of their policies denies is denied: a joint chain has the verdicts of all.
"""

from shibafu.cni.names import calc_digest
from shibafu.netfilter.render_nftables import RulesetListing
from shibafu.netfilter.ruleset import Chain, ElementSet
from shibafu.policy.compiled import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.policy.compiled import Compiled
    from shibafu.policy.member import Member

# What joint chains begin with.
_JOINT = "all-"


class PolicyTable:
    """What the kernel has to have.

    Args:
        compiled: the policies.
        members: the containers.

    Attributes:
        chains: by name.
        sets: sets and maps by name, without their elements.
        elements: of each of them: the value in a map of each key, and of each element of a set nothing.
    """

    __slots__ = ("_shared", "chains", "elements", "sets")

    def __init__(self, compiled: "Compiled", members: "Iterable[Member]") -> None:
        table = compiled.calc_table()
        self.chains: dict[str, Chain] = {chain.name: chain for chain in table.chains}
        self.sets: dict[str, ElementSet] = {one.name: one for one in table.sets}
        self.elements = {one.name: _split_elements(one.elements) for one in table.sets}
        # The verdicts for each key that several containers have.
        self._shared: dict[tuple[str, str], set[str]] = {}
        for member in members:
            part = compiled.calc_member(member)
            self.chains.update({chain.name: chain for chain in part.chains})
            for one in part.sets:
                self._add_elements(one)
        for (name, key), verdicts in self._shared.items():
            chain = _calc_joint_chain(verdicts)
            self.chains[chain.name] = chain
            self.elements[name][key] = f"jump {chain.name}"

    def _add_elements(self, part: ElementSet) -> None:
        held = self.elements[part.name]
        for key, value in _split_elements(part.elements).items():
            if part.is_map and key in held:
                # Also if it is the same: it has to stay when one of the containers goes.
                self._shared.setdefault((part.name, key), {held[key]}).add(value)
            held.setdefault(key, value)

    def render_changes(self, listing: RulesetListing) -> str:
        """Return the transaction that makes the table of what is listed; empty if nothing is to change.

        Chains that are new get their rules before anything leads to them, and what is no longer needed goes
        when nothing does.
        """
        if not listing.text or listing.is_dormant:
            return self.render_whole()
        return "".join(f"{line}\n" for line in self._list_changes(listing))

    def render_whole(self) -> str:
        """Return the transaction that makes the table, whatever is there."""
        lines = [f"add table {TABLE}", f"delete table {TABLE}", f"add table {TABLE}"]
        return "".join(f"{line}\n" for line in [*lines, *self._list_changes(RulesetListing(""))])

    def _list_changes(self, listing: RulesetListing) -> list[str]:
        chains, sets = listing.chains, listing.sets
        lines = [_render_set(one) for one in self.sets.values() if one.name not in sets]
        added, deleted = self._compare_elements(sets)
        changed = [chain for chain in self.chains.values() if chains.get(chain.name) != _list_lines(chain)]
        lines += [_render_chain(chain) for chain in changed]
        for chain in changed:
            if chain.name in chains:
                lines.append(f"flush chain {TABLE} {chain.name}")
            lines += [f"add rule {TABLE} {chain.name} {rule}" for rule in chain.rules]
        lines += [
            _render_elements("delete", name, held) for name, held in deleted.items() if name in self.sets
        ]
        lines += [_render_elements("add", name, held) for name, held in added.items()]
        gone = [name for name in chains if name not in self.chains]
        lines += [f"flush chain {TABLE} {name}" for name in gone]
        lines += [f"delete chain {TABLE} {name}" for name in gone]
        return [*lines, *(f"delete set {TABLE} {name}" for name in sets if name not in self.sets)]

    def _compare_elements(
        self, sets: dict[str, set[str]]
    ) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
        """Return what each set lacks, and what it has too much."""
        added: dict[str, dict[str, str]] = {}
        deleted: dict[str, dict[str, str]] = {}
        for name, wanted in self.elements.items():
            present = _split_elements(sets.get(name, ()))
            if present == wanted:
                continue
            more = {key: value for key, value in wanted.items() if present.get(key) != value}
            less = {key: value for key, value in present.items() if wanted.get(key) != value}
            added.update({name: more} if more else {})
            deleted.update({name: less} if less else {})
        return added, deleted


def add_shared_elements(listing: RulesetListing) -> RulesetListing:
    """Add to what is listed of the table, for an address of several containers, the element of each."""
    for elements in listing.sets.values():
        for key, value in _split_elements(elements).items():
            chain = value.removeprefix("jump ")
            if chain.startswith(_JOINT):
                elements.update(f"{key} : {verdict}" for verdict in listing.chains.get(chain, ()))
    return listing


def _calc_joint_chain(verdicts: "Iterable[str]") -> Chain:
    lines = sorted(verdicts)
    return Chain(TABLE, f"{_JOINT}{calc_digest(*lines, size=8)}", "", lines)


def _split_elements(elements: "Iterable[str]") -> dict[str, str]:
    """Return keys and values; those of a set have none."""
    pairs = (element.partition(" : ") for element in elements)
    return {key: value for key, _, value in pairs}


def _list_lines(chain: Chain) -> list[str]:
    """Return a chain as nft lists it."""
    return (
        [f"{chain.hook.replace('-10', 'filter - 10')}; policy accept;", *chain.rules]
        if chain.hook
        else chain.rules
    )


def _render_set(one: ElementSet) -> str:
    return f"add {'map' if one.is_map else 'set'} {TABLE} {one.name} {one.specification}"


def _render_chain(chain: Chain) -> str:
    return f"add chain {TABLE} {chain.name}" + (f" {{ {chain.hook}; }}" if chain.hook else "")


def _render_elements(verb: str, name: str, elements: dict[str, str]) -> str:
    texts = (f"{key} : {value}" if value else key for key, value in elements.items())
    return f"{verb} element {TABLE} {name} {{ {', '.join(texts)} }}"
