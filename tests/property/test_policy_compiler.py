"""The compiler against the evaluator, for policies at random, and changes of a table against the whole."""

import re
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

import pytest
import yaml
from hypothesis import given, settings

from netns.policy_cases import Step
from netns.policy_lab import calc_expected, list_probes, list_workloads, make_member, make_namespaces
from netns.policy_random import steps
from shibafu.netfilter.render_nftables import RulesetListing
from shibafu.policy.compiled import Compiled
from shibafu.policy.compiler import compile_policies
from shibafu.policy.policy_documents import parse_policies
from shibafu.policy.policy_table import PolicyTable

_SHORT, _LONG = 150, 10000
_ADDRESSES = {f"{pod.namespace}/{pod.name}": pod.addresses for pod in list_workloads()}


class Ruleset:
    """What nft would have made of its input, as far as packets are concerned."""

    def __init__(self) -> None:
        self.sets: dict[str, dict[str, str]] = {}
        self.chains: dict[str, list[str]] = {}

    def load(self, text: str) -> None:
        """Do what a transaction says, and refuse what nft would refuse."""
        for line in text.splitlines():
            verb, what, _, _, name, *rest = [*line.split(" ", 5), "", ""]
            held = rest[0].removeprefix("{ ").removesuffix(" }")
            if what == "table":
                self.sets, self.chains = {}, {}
            elif what == "element":
                for key, _, value in (one.partition(" : ") for one in held.split(", ")):
                    assert not value or value.removeprefix("jump ") in self.chains, line
                    if verb == "add":
                        assert self.sets[name].get(key, value) == value, line
                        self.sets[name][key] = value
                    else:
                        assert self.sets[name].pop(key) == value, line
            elif what == "rule":
                self.chains[name].append(rest[0])
                assert set(re.findall(r"@(\w+)", rest[0])) <= set(self.sets), line
            elif verb == "flush":
                self.chains[name].clear()
            elif verb == "delete":
                assert not any(f"jump {name}" in held.values() for held in self.sets.values()), line
                del (self.chains if what == "chain" else self.sets)[name]
            else:
                (self.chains.setdefault(name, []) if what == "chain" else self.sets.setdefault(name, {}))

    def list(self) -> str:
        """Return the table as nft lists it."""
        lines = ["table inet shibafu_policy {"]
        for name, held in self.sets.items():
            texts = (f"{key} : {value}" if value else key for key, value in held.items())
            lines += [
                f"set {name} {{",
                "type ipv4_addr",
                f"elements = {{ {', '.join(texts)} }}" if held else "",
                "}",
            ]
        for name, rules in self.chains.items():
            hook = (
                ["type filter hook forward priority filter - 10; policy accept;"] if name == "forward" else []
            )
            lines += [f"chain {name} {{", *hook, *rules, "}"]
        return "\n".join([*lines, "}"])

    def passes(self, packet: dict[str, str]) -> bool:
        """Return whether the first packet of a connection passes."""
        verdicts = [self._find(rule, packet) for rule in self.chains["forward"]]
        for verdict in filter(None, verdicts):
            if verdict in ("accept", "drop"):
                return verdict == "accept"
            if self._run(self.chains[verdict.removeprefix("jump ")], packet) == "drop":
                return False
        return True

    def _run(self, rules: Iterable[str], packet: dict[str, str]) -> str:
        return next(filter(None, (self._find(rule, packet) for rule in rules)))

    def _find(self, rule: str, packet: dict[str, str]) -> str:
        """Return the verdict of a rule; empty where it does not match."""
        *matches, verdict = re.findall(
            r"meta \w+ \w+|ct state \S+|icmpv6 type \{.*?\}"
            r"|ip6? \w+ vmap @\w+|counter|accept|return|drop|jump \S+"
            r"|(?:ip6?|tcp|udp|sctp) \w+(?: \. \w+ \w+)* (?:!= )?(?:@\w+|\{.*?\}|[\w:./-]+)",
            rule,
        )
        if "vmap" in verdict:
            field, _, name = verdict.partition(" vmap @")
            return self.sets[name].get(packet.get(field, ""), "")
        return verdict if all(self._matches(one, packet) for one in matches) else ""

    def _matches(self, text: str, packet: dict[str, str]) -> bool:
        if text == "counter":
            return True
        if text.startswith(("ct ", "icmpv6 ")):
            return False
        fields, _, wanted = text.rpartition(" ") if "{" not in text else text.partition(" {")
        values = [packet.get(one) for one in fields.removesuffix(" !=").split(" . ")]
        if None in values:
            return False
        value = " . ".join(map(str, values))
        elements = self.sets[wanted[1:]] if wanted.startswith("@") else wanted.strip("{ }").split(", ")
        return _is_in(value, elements) != fields.endswith(" !=")


def _is_in(value: str, elements: Iterable[str]) -> bool:
    return any(value == one or _is_between(value, one) for one in elements)


def _is_between(value: str, element: str) -> bool:
    if value.isdecimal():
        first, _, last = element.partition("-")
        return last != "" and int(first) <= int(value) <= int(last)
    if "/" in element:
        return ip_address(value) in ip_network(element)
    first, _, last = element.partition("-")
    return last != "" and int(ip_address(first)) <= int(ip_address(value)) <= int(ip_address(last))


def _render_packet(probe: tuple[str, str, int, str, int]) -> dict[str, str]:
    source, destination, version, protocol, port = probe
    family = "ip" if version == 4 else "ip6"
    return {
        f"{family} saddr": _ADDRESSES[source][version],
        f"{family} daddr": _ADDRESSES[destination][version],
        "meta nfproto": f"ipv{version}",
        "meta l4proto": protocol.lower(),
        f"{protocol.lower()} dport": str(port),
    }


def _calc_table(step: Step) -> PolicyTable:
    documents = [*make_namespaces(step.namespaces), *step.policies]
    compiled = compile_policies(parse_policies(yaml.safe_dump_all(documents), "policies.yaml"))
    # As calls of plugins read it.
    return PolicyTable(Compiled.from_json(compiled.to_json()), map(make_member, step.make_cluster().pods))


def _assert_rules_are_right(before: Step, after: Step) -> None:
    ruleset = Ruleset()
    for step in (before, after):
        table = _calc_table(step)
        ruleset.load(table.render_changes(RulesetListing(ruleset.list() if ruleset.chains else "")))
        assert table.render_changes(RulesetListing(ruleset.list())) == ""
    expected = calc_expected(after.make_cluster())
    passing = {probe for probe in list_probes() if probe.source != probe.destination} & {
        probe for probe in list_probes() if ruleset.passes(_render_packet(probe))
    }
    assert passing == {probe for probe in expected if probe.source != probe.destination}
    whole = Ruleset()
    whole.load(_calc_table(after).render_whole())
    assert (ruleset.chains, ruleset.sets) == (whole.chains, whole.sets)


@given(before=steps(), after=steps())
@settings(max_examples=_SHORT)
def test_rules_are_right(before: Step, after: Step) -> None:
    _assert_rules_are_right(before, after)


@pytest.mark.long
@given(before=steps(), after=steps())
@settings(max_examples=_LONG)
def test_many_rules_are_right(before: Step, after: Step) -> None:
    _assert_rules_are_right(before, after)
