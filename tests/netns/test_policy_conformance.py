"""Policies in the kernel: what each set of them lets through, of all that nine containers try."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from netns.policy_cases import CASES, Step, block, express, match, pods, policy
from netns.policy_lab import (
    PROTOCOLS,
    PolicyLab,
    Probe,
    list_probes,
    make_member,
    make_namespaces,
)
from shibafu.netfilter.nftables import Nft
from shibafu.netfilter.render_nftables import RulesetListing
from shibafu.policy.compiled import TABLE
from shibafu.policy.compiler import compile_policies
from shibafu.policy.policy_documents import parse_policies
from shibafu.policy.policy_table import PolicyTable
from support.policy_evaluator import Document

TESTS = Path(__file__).parents[1]
# Of the generated cases, the suite tries some.
_SAMPLE = 7


@pytest.fixture(scope="module")
def lab() -> Iterator[PolicyLab]:
    with PolicyLab() as made:
        yield made


def apply(lab: PolicyLab, step: Step) -> None:
    """Have the host's kernel enforce policies, by as few changes as possible."""
    documents = [*make_namespaces(step.namespaces), *step.policies]
    compiled = compile_policies(parse_policies(yaml.safe_dump_all(documents), "policies.yaml"))
    members = [make_member(pod) for pod in step.make_cluster().pods]
    table = PolicyTable(compiled, members)
    with lab.host.enter():
        nft = Nft(os.environ)
        changes = table.render_changes(RulesetListing(nft.list_table(TABLE)))
        if changes:
            nft.run(changes)
        assert table.render_changes(RulesetListing(nft.list_table(TABLE))) == ""


def assert_conforms(lab: PolicyLab, name: str) -> None:
    """Apply each step of a case, and compare what arrives."""
    for step in CASES[name]:
        apply(lab, step)
        lab.assert_conforms(step)


def _is_sample(name: str) -> bool:
    """Return whether the suite tries a case each time; those that are not generated are few."""
    generated = [one for one in CASES if one.startswith(("peers", "ports", "ingress peers", "egress peers"))]
    return name not in generated or generated.index(name) % _SAMPLE == 0


def test_the_evaluator_has_nothing_of_the_product() -> None:
    script = (
        "import sys, support.policy_evaluator; print([n for n in sys.modules if n.startswith('shibafu')])"
    )
    listed = subprocess.check_output([sys.executable, "-c", script], cwd=TESTS, text=True)
    assert listed == "[]\n"


def test_there_are_as_many_sets_as_documented() -> None:
    assert sum(map(len, CASES.values())) >= 110


@pytest.mark.parametrize(
    "name", [name if _is_sample(name) else pytest.param(name, marks=pytest.mark.long) for name in CASES]
)
def test_the_kernel_lets_through_what_policies_allow(lab: PolicyLab, name: str) -> None:
    assert_conforms(lab, name)


def _everybody(namespaces: str = "xyz", names: str = "abc") -> set[str]:
    return {f"{namespace}/{name}" for namespace in namespaces for name in names}


_BLOCK = block("10.9.0.0/24", "10.9.0.12/31", "10.9.0.14/32")
# Of a peer, who reaches x/a; the evaluator has no part in it.
TRUTH: dict[str, tuple[list[Document] | None, set[str]]] = {
    "nobody": (None, {"x/a"}),
    "pods of the namespace": ([pods({})], _everybody("x")),
    "c of the namespace": ([pods(match(pod="c"))], {"x/a", "x/c"}),
    "all namespaces": ([{"namespaceSelector": {}}], _everybody()),
    "c of all namespaces": ([pods(match(pod="c"), namespaces={})], {"x/a", "x/c", "y/c", "z/c"}),
    "a namespace": ([{"namespaceSelector": match(ns="y")}], {"x/a", *_everybody("y")}),
    "c of a namespace": ([pods(match(pod="c"), namespaces=match(ns="z"))], {"x/a", "z/c"}),
    "b and c of others": (
        [pods(express("pod", "In", "b", "c"), namespaces=express("ns", "NotIn", "x"))],
        {"x/a", *_everybody("yz", "bc")},
    ),
}


def _list_all(names: set[str], is_source: bool, versions: tuple[int, ...] = (4, 6)) -> set[Probe]:
    """Return the probes from some pods to x/a, or from x/a to them."""
    return {
        probe
        for probe in list_probes()
        if probe.version in versions
        and (probe.destination if is_source else probe.source) == "x/a"
        and (probe.source if is_source else probe.destination) in names
    }


@pytest.mark.parametrize("name", TRUTH)
@pytest.mark.parametrize("is_ingress", [True, False], ids=["ingress", "egress"])
def test_peers_are_who_they_are_said_to_be(lab: PolicyLab, name: str, is_ingress: bool) -> None:
    peers, names = TRUTH[name]
    rules = [] if peers is None else [{"from" if is_ingress else "to": peers}]
    apply(lab, Step([policy(rules) if is_ingress else policy(egress=rules)]))
    others = {probe for probe in list_probes() if (probe[1] if is_ingress else probe[0]) != "x/a"}
    expected = others | _list_all(names, is_ingress)
    assert lab.probe(expected) == expected


@pytest.mark.parametrize("is_ingress", [True, False], ids=["ingress", "egress"])
def test_a_block_is_of_one_family(lab: PolicyLab, is_ingress: bool) -> None:
    rules = [{"from" if is_ingress else "to": [_BLOCK]}]
    apply(lab, Step([policy(rules) if is_ingress else policy(egress=rules)]))
    admitted = _list_all({"y/b", "y/c"}, is_ingress, (4,)) | _list_all({"x/a"}, is_ingress)
    expected = {
        probe for probe in list_probes() if (probe[1] if is_ingress else probe[0]) != "x/a"
    } | admitted
    assert len(admitted) == (2 + 2) * len(PROTOCOLS) * 2
    assert lab.probe(expected) == expected
