"""A ruleset as data: what one backend puts into the kernel, in that backend's own words.

`network_rulesets` and `port_rulesets` make them, `render_iptables` and `render_nftables` turn them into the
input of their programs, and compare them with what these list. Nothing is translated between the two.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# What is wrong with a network's rules.
MISSING = "are missing"
MIXED = "contain other rules or are out of order"


class Chain:
    """A chain, the rules in it, and how packets get there.

    Args:
        table: the table that it is in; with nftables the family comes first.
        name: its name there.
        hook: iptables: the kernel's chain that jumps to it. nftables: type, hook and priority.
        rules: in their order, without comments, as the backend lists them.
        jumps: iptables: the rules of the hook that jump to it, in their order and as the backend lists them,
            and such before them as spare packets the way.
    """

    __slots__ = ("hook", "jumps", "name", "rules", "table")

    def __init__(
        self, table: str, name: str, hook: str, rules: "Sequence[str]", jumps: "Sequence[str]" = ()
    ) -> None:
        self.table = table
        self.name = name
        self.hook = hook
        self.rules = list(rules)
        self.jumps = list(jumps)


class ElementSet:
    """A set or a map of nftables, and elements that have to be in it; others may be there, too.

    Args:
        name: its name in the ruleset's table.
        kind: the type of its elements, and its flags; `typeof` and an expression where it has no name.
        elements: as nft lists them.
        is_map: whether its elements have values.
    """

    __slots__ = ("elements", "is_map", "kind", "name")

    def __init__(self, name: str, kind: str, elements: "Sequence[str]", is_map: bool = False) -> None:
        self.name = name
        self.kind = kind
        self.elements = list(elements)
        self.is_map = is_map

    @property
    def specification(self) -> str:
        """What stands in braces after its name."""
        return f"{{ {self.kind}; }}" if self.kind.startswith("typeof ") else f"{{ type {self.kind}; }}"


class Ruleset:
    """Chains and sets that are made, compared and removed together.

    Args:
        name: what is the ruleset's alone. iptables: the chain of this name in each table. nftables: the
            table, its family first.
        chains: its chains, in the order in which they are made.
        sets: its sets, likewise.
        comment: what tells people what it belongs to.
        shared: iptables: a chain of table filter that rulesets have in common. It is made where it is
            missing, its rules are never touched, and it goes with the last ruleset when it has none.
        former: iptables: chains that earlier releases made in its place, and that go when it is made.
    """

    __slots__ = ("chains", "comment", "former", "name", "sets", "shared")

    def __init__(
        self,
        name: str,
        chains: "Sequence[Chain]",
        sets: "Sequence[ElementSet]" = (),
        comment: str = "",
        shared: str = "",
        former: "Sequence[Chain]" = (),
    ) -> None:
        self.name = name
        self.chains = list(chains)
        self.sets = list(sets)
        self.comment = comment
        self.shared = shared
        self.former = list(former)

    def tables(self) -> "list[tuple[str, list[Chain]]]":
        """Return the names of its tables, in the order of its chains, and the chains in each."""
        tables: dict[str, list[Chain]] = {}
        for chain in self.chains:
            tables.setdefault(chain.table, []).append(chain)
        return list(tables.items())

    def identify(self) -> str:
        """Return what identifies it: with another release, the same network may have a different one."""
        parts = [self.name, self.comment, self.shared]
        for chain in self.chains:
            parts += [chain.table, chain.name, chain.hook, *chain.rules, *chain.jumps]
        for one in self.sets:
            parts += [one.name, one.kind, *one.elements]
        return "\n".join(parts)
