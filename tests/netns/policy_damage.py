"""Taking away, one after the other, all that a host's kernel has of the policies."""

import re

from netns.blue_network import BlueNetwork
from shibafu.netfilter.render_nftables import RulesetListing

_TABLES = ("inet shibafu_policy", "bridge shibafu_policy")


class Rules:
    """What a host's kernel has of the policies."""

    def __init__(self, network: BlueNetwork) -> None:
        run = network.host.run
        self._texts = {table: run("nft", "-a", "list", "table", *table.split()) for table in _TABLES}
        self._listings = {
            table: RulesetListing(re.sub(r" # handle \d+", "", text)) for table, text in self._texts.items()
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rules) and self._list_all() == other._list_all()

    __hash__ = None  # type: ignore[assignment]

    def _list_all(self) -> object:
        return [(listing.chains, listing.sets) for listing in self._listings.values()]

    def list_damages(self) -> dict[str, str]:
        """Return how each table, chain, rule, set, map and element is taken away."""
        found = {}
        for table, listing in self._listings.items():
            found[f"table {table}"] = f"delete table {table}"
            for name, elements in sorted(listing.sets.items()):
                kind = "map" if any(" : " in one for one in elements) else "set"
                steps = [*self._list_rules(table, f"@{name}").values(), f"delete {kind} {table} {name}"]
                found[f"{table}: {kind} {name}"] = "; ".join(steps)
                for element in sorted(elements):
                    step = f"delete element {table} {name} {{ {element} }}"
                    found[f"{table}: element of {name}: {element}"] = step
            for name in sorted(listing.chains):
                steps = [
                    f"delete element {table} {one} {{ {element} }}"
                    for one, elements in listing.sets.items()
                    for element in elements
                    if element.endswith(f"jump {name}")
                ]
                steps += [f"flush chain {table} {name}", f"delete chain {table} {name}"]
                found[f"{table}: chain {name}"] = "; ".join(steps)
                found |= {
                    f"{table}: {name}: {rule}": step
                    for rule, step in self._list_rules(table, "", name).items()
                }
        return found

    def _list_rules(self, table: str, part: str, chain: str = "") -> dict[str, str]:
        """Return how each rule is deleted that contains a part; those of one chain, if it is given."""
        found, name = {}, ""
        for line in self._texts[table].splitlines():
            rule, _, handle = line.strip().partition(" # handle ")
            if rule.endswith(" {"):
                name = rule.split()[1] if rule.startswith("chain ") else ""
            elif handle and name and part in rule and chain in ("", name):
                found[f"{name}: {rule}"] = f"delete rule {table} {name} handle {handle}"
        return found


def assert_all_is_brought_back(network: BlueNetwork, stride: int) -> None:
    """Take away each of the things, or every so many of them: CHECK sees it, and `repair` brings it back."""
    whole = Rules(network)
    titles = list(whole.list_damages())
    assert len(titles) > 30
    for title in titles[::stride]:
        # Rules that a repair has made have other handles.
        network.host.run("nft", Rules(network).list_damages()[title])
        assert_seen_and_repaired(network, title)
        assert Rules(network) == whole, title


def assert_seen_and_repaired(network: BlueNetwork, title: str) -> None:
    """See that CHECK finds something, and that `repair` mends all that it finds."""
    checked, _ = network.shibafu.run("network", "check", status=1)
    assert " failed (check): " in checked, title
    faults = network.shibafu.json("network repair")["faults"]
    assert faults, title
    assert all(one["repaired"] for one in faults), title
