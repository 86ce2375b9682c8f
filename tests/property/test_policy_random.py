"""The evaluator against an oracle on random policies, and what holds for all policies."""

from hypothesis import given
from hypothesis import strategies as st

from shibafu.policy.model import PolicySet
from support.policy_cases import PORTS, PolicyCase, policy
from support.policy_model import is_allowed, make_policies
from support.policy_oracle import Container, Document, Oracle
from support.policy_random import policies

CLUSTER = PolicyCase("", []).containers()
NAMESPACES = PolicyCase("", []).documents()
Flow = tuple[Container, Container, int, str, int]
FLOWS: list[Flow] = [
    (source, destination, family, protocol, port)
    for source in CLUSTER
    for destination in CLUSTER
    for family, protocol in ((4, "TCP"), (4, "SCTP"), (6, "UDP"))
    for port in PORTS
]
DENY = [policy("deny", {}, namespace, policyTypes=["Ingress", "Egress"]) for namespace in ("x", "y", "z")]


def find_allowed(declared: list[Document], flows: list[Flow]) -> list[bool]:
    found: PolicySet = make_policies([*NAMESPACES, *declared])
    return [is_allowed(found, *flow) for flow in flows]


def samples() -> st.SearchStrategy[list[Flow]]:
    return st.lists(st.sampled_from(FLOWS), min_size=20, max_size=20)


def rename(declared: list[Document], prefix: str) -> list[Document]:
    return [
        one | {"metadata": one["metadata"] | {"name": f"{prefix}{number}"}}
        for number, one in enumerate(declared)
    ]


@given(policies())
def test_it_agrees_with_the_oracle(declared: list[Document]) -> None:
    oracle = Oracle([*NAMESPACES, *declared], CLUSTER)
    assert find_allowed(declared, FLOWS) == [oracle.allows(*flow) for flow in FLOWS]


@given(policies().flatmap(lambda stated: st.tuples(st.just(stated), st.permutations(stated))), samples())
def test_order_has_no_meaning(both: tuple[list[Document], list[Document]], flows: list[Flow]) -> None:
    assert find_allowed(both[0], flows) == find_allowed(rename(both[1], "other"), flows)


@given(policies(), policies(), samples())
def test_policies_only_add_for_those_that_are_isolated(
    one: list[Document], other: list[Document], flows: list[Flow]
) -> None:
    fewer = find_allowed([*DENY, *one], flows)
    more = find_allowed([*DENY, *one, *rename(other, "other")], flows)
    assert all(after >= before for before, after in zip(fewer, more, strict=True))


@given(policies(), samples())
def test_deny_all_changes_nothing_for_those_that_are_isolated(
    declared: list[Document], flows: list[Flow]
) -> None:
    isolated = [
        one | {"spec": one["spec"] | {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}
        for one in declared
    ]
    namespaces = {one["metadata"]["namespace"] for one in isolated}
    denied = [one for one in DENY if one["metadata"]["namespace"] in namespaces]
    assert find_allowed(isolated, flows) == find_allowed([*isolated, *denied], flows)
