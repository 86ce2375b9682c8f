"""Rulesets as input of nft(8), and compared with what it lists.

A transaction empties the table's chains and fills them again, which is atomic for packets and right whatever
was there before: making sure, making and repairing are the same.
"""

from shibafu.netfilter.ruleset import ElementSet, Ruleset

# Of more than these, nft 1.0.6 crashes when it is asked for each.
_MOST_LOOKED_UP = 50


def render_setup(ruleset: Ruleset) -> str:
    """Return the input that makes a ruleset, whatever exists of it."""
    table = ruleset.name
    lines = [f"add table {table}"]
    lines += [f"add {_calc_keyword(part)} {table} {part.name} {part.specification}" for part in ruleset.sets]
    lines += [f"add chain {table} {chain.name} {{ {chain.hook}; }}" for chain in ruleset.chains]
    return "\n".join(lines) + "\n" + render_content(ruleset)


def render_content(ruleset: Ruleset) -> str:
    """Return the input that fills chains and adds elements, and fails where the table is missing."""
    table = ruleset.name
    lines = [f"flush table {table}"]
    lines += [
        f'add rule {table} {chain.name} {text} comment "{ruleset.comment}"'
        for chain in ruleset.chains
        for text in chain.rules
    ]
    return "\n".join(lines + _render_elements("add", ruleset)) + "\n"


def render_added(ruleset: Ruleset) -> str:
    """Return the input that adds elements; it fails if a set is missing, or has another value."""
    return "\n".join(_render_elements("add", ruleset)) + "\n"


def render_deleted(ruleset: Ruleset) -> str:
    """Return the input that deletes elements, if they exist; it fails if they have another value."""
    return render_added(ruleset) + "\n".join(_render_elements("delete", ruleset)) + "\n"


def render_looked_up(ruleset: Ruleset) -> str:
    """Return the input that prints chains and elements, of others' as few as possible.

    It fails where a chain, a set or one of few elements is missing.
    """
    few = [part for part in ruleset.sets if len(part.elements) <= _MOST_LOOKED_UP]
    lines = [f"list chain {chain.table} {chain.name}" for chain in ruleset.chains]
    lines += [
        f"list {_calc_keyword(part)} {ruleset.name} {part.name}" for part in ruleset.sets if part not in few
    ]
    return "\n".join(lines + _render_elements("get", Ruleset(ruleset.name, [], few))) + "\n"


def render_without_elements(ruleset: Ruleset) -> str:
    """Return the input that makes a ruleset, and takes its elements away: others stay."""
    return render_setup(ruleset) + "\n".join(_render_elements("delete", ruleset)) + "\n"


def render_teardown(ruleset: Ruleset) -> str:
    """Return the input that removes all of a ruleset, whether it exists or not."""
    return f"add table {ruleset.name}\ndelete table {ruleset.name}\n"


def render_list(ruleset: Ruleset) -> str:
    """Return the input that prints what exists under a ruleset's name; it fails if nothing does."""
    return f"list table {ruleset.name}\n"


def _calc_keyword(part: ElementSet) -> str:
    return "map" if part.is_map else "set"


def _render_elements(verb: str, ruleset: Ruleset) -> list[str]:
    """Return lines for the sets in their order, or the other way round to delete."""
    return [
        f"{verb} element {ruleset.name} {part.name} {{ {', '.join(part.elements)} }}"
        for part in ruleset.sets[:: -1 if verb == "delete" else 1]
        if part.elements
    ]


class RulesetListing:
    """A table as nft lists it.

    Args:
        text: what it printed; empty if the table is missing.
    """

    __slots__ = ("_elements", "_kinds", "_lines", "is_dormant", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        # Whether the table has no effect.
        self.is_dormant = False
        self._kinds: dict[str, str] = {}
        # Of each chain its hook and its rules, and the elements of each set.
        self._lines: dict[str, list[str]] = {}
        self._elements: dict[str, set[str]] = {}
        name = ""
        for line in map(str.strip, text.splitlines()):
            kind, _, rest = line.partition(" ")
            if line.endswith(" {") and kind in ("chain", "set", "map"):
                name = rest.removesuffix(" {")
                self._lines[name], self._elements[name], self._kinds[name] = [], set(), kind
            elif kind == "table":
                name = ""  # the answer to another question
            elif not name:
                self.is_dormant = self.is_dormant or line == "flags dormant"
            elif line.startswith("elements = {") or self._elements[name]:
                elements = line.removeprefix("elements = {").removesuffix("}").split(",")
                self._elements[name].update(filter(None, map(str.strip, elements)))
            elif line not in ("", "}"):
                self._lines[name].append(_strip_counts(line.partition(' comment "')[0]))

    @property
    def chains(self) -> dict[str, list[str]]:
        """The hook of each chain, if it has one, and its rules."""
        return {name: lines for name, lines in self._lines.items() if self._kinds[name] == "chain"}

    @property
    def sets(self) -> dict[str, set[str]]:
        """The elements of each set and map."""
        return {name: held for name, held in self._elements.items() if self._kinds[name] != "chain"}

    def find_difference(self, ruleset: Ruleset) -> str:
        """Return the first difference from a ruleset, in words; empty if there is none."""
        return self.find_missing(ruleset) or self.find_stray(ruleset)

    def find_missing(self, ruleset: Ruleset) -> str:
        """Return what is missing of a ruleset, in words; empty if nothing is."""
        if not self.text:
            return f"table {ruleset.name} is missing"
        if self.is_dormant:
            return f"table {ruleset.name} is dormant"
        for chain in ruleset.chains:
            lines = self._lines.get(chain.name, [])
            where = f"chain {chain.name} of table {ruleset.name}"
            hook = chain.hook.partition(" priority")[0]
            if not lines or not lines[0].startswith(hook):
                return f"{where} is missing"
            for text in chain.rules:
                if not any(_is_same(text, line) for line in lines):
                    return f"{where} lacks the rule: {text}"
        for part in ruleset.sets:
            for element in part.elements:
                if element not in self._elements.get(part.name, ()):
                    return f"set {part.name} of table {ruleset.name} lacks the element: {element}"
        return ""

    def find_stray(self, ruleset: Ruleset) -> str:
        """Return in words a chain with other rules, or with its own out of order; empty if there is none."""
        for chain in ruleset.chains:
            lines = self._lines.get(chain.name, [])[1 if chain.hook else 0 :]
            if len(lines) != len(chain.rules) or not all(map(_is_same, chain.rules, lines)):
                return f"chain {chain.name} of table {ruleset.name} contains other rules or is out of order"
        return ""


def _strip_counts(line: str) -> str:
    """Return a rule without what its counter has come to."""
    head, key, tail = line.partition("counter packets ")
    return f"{head}counter{tail.partition(' bytes ')[2].lstrip('0123456789')}" if key else line


def _is_same(text: str, line: str) -> bool:
    """Return whether a rule is the one that nft lists."""
    # A group is listed by its name, if somebody gave it one in /etc/iproute2/group.
    head, key, tail = text.partition("ifgroup ")
    if not key:
        return text == line
    _, _, rest = tail.partition(" ")
    return line.startswith(head + key) and line.endswith(f" {rest}")
