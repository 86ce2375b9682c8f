"""Whatever is taken away of the policies' rules in the kernel: CHECK sees it, and `repair` brings it back."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from netns.blue_network import BlueNetwork
from netns.policy_cases import block, match, pods, policy
from shibafu.netfilter.render_nftables import RulesetListing
from support.command import CommandLine
from support.traffic import can_reach

_TABLES = ("inet shibafu_policy", "bridge shibafu_policy")
# For db, which may connect to web, and not the other way round: chains, sets and maps of each kind.
_POLICY = policy(
    [
        {
            "from": [
                pods(match(app="admin")),
                block("10.66.0.0/24", "10.66.0.2/31"),
                block("fd00::/8", "fd00::/16"),
            ]
        }
    ],
    [{"to": [pods(match(app="web"))]}, {"to": [pods({})], "ports": [{"port": "http"}]}],
    target=match(app="db"),
    namespace="default",
)
_WEB, _DB = "10.66.0.2", "10.66.0.3"


@pytest.fixture
def restricted(shibafu: CommandLine, network: BlueNetwork, tmp_path: Path) -> Iterator[BlueNetwork]:
    """A network with a container that a policy is for, in both directions, and with both families."""
    shibafu("network create blue --subnet 10.66.0.0/24 --ipv6")
    shibafu(f"network connect blue {network.web.name} --label app=web --named-port http=80/tcp")
    shibafu(f"network connect blue {network.db.name} --label app=db")
    shibafu("policy apply -f -", stdin=yaml.safe_dump(_POLICY))
    yield network
    (tmp_path / "policies" / "applied.json").unlink()
    shibafu("policy apply")


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


# Of what can be taken away, the usual suite tries some.
@pytest.mark.parametrize("stride", [10, pytest.param(1, marks=pytest.mark.long)])
def test_what_is_missing_is_seen_and_brought_back(restricted: BlueNetwork, stride: int) -> None:
    whole = Rules(restricted)
    titles = list(whole.list_damages())
    assert len(titles) > 70
    for title in titles[::stride]:
        # Rules that a repair has made have other handles.
        restricted.host.run("nft", Rules(restricted).list_damages()[title])
        assert_seen_and_repaired(restricted, title)
        assert Rules(restricted) == whole, title
    assert can_reach(restricted.web, _WEB, restricted.db)
    assert not can_reach(restricted.db, _DB, restricted.web)


def test_a_bridge_that_netfilter_does_not_see_is_seen_and_repaired(restricted: BlueNetwork) -> None:
    restricted.host.run("ip", "link", "set", "br-blue", "type", "bridge", "nf_call_iptables", "0")
    assert can_reach(restricted.db, _DB, restricted.web)
    assert_seen_and_repaired(restricted, "bridge")
    assert not can_reach(restricted.db, _DB, restricted.web)


def assert_seen_and_repaired(network: BlueNetwork, title: str) -> None:
    checked, _ = network.shibafu.run("network", "check", status=1)
    assert " failed (check): " in checked, title
    found = network.shibafu.json("network repair --dry-run", status=1)["faults"]
    assert found, title
    repaired = network.shibafu.json("network repair")["faults"]
    assert [one["what"] for one in repaired] == [one["what"] for one in found], title
    assert all(one["repaired"] for one in repaired), title
    network.shibafu("network check")
