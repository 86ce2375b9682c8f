"""The evaluator against another one on random policies, and what holds for all policies."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from netns.policy_cases import Step, policy
from netns.policy_lab import Probe, calc_expected, list_probes, make_namespaces
from netns.policy_random import steps
from support.policy_evaluator import Document
from support.policy_model import is_allowed, read_documents

DENY = [policy([], [], {}, namespace, "deny") for namespace in "xyz"]


def find_allowed(step: Step, probes: list[Probe]) -> set[Probe]:
    pods = {f"{pod.namespace}/{pod.name}": pod for pod in step.make_cluster().pods}
    declared = read_documents([*make_namespaces(step.namespaces), *step.policies])
    return {
        probe
        for probe in probes
        if is_allowed(declared, pods[probe.source], pods[probe.destination], *probe[2:])
    }


def samples() -> st.SearchStrategy[list[Probe]]:
    return st.lists(st.sampled_from(list_probes()), min_size=20, max_size=20)


def rename(policies: list[Document], prefix: str) -> list[Document]:
    return [
        one | {"metadata": one["metadata"] | {"name": f"{prefix}{number}"}}
        for number, one in enumerate(policies)
    ]


@given(steps())
def test_it_agrees_with_another_evaluator(step: Step) -> None:
    assert find_allowed(step, list_probes()) == calc_expected(step.make_cluster())


@given(steps(), st.randoms(), samples())
def test_order_has_no_meaning(step: Step, random: Random, probes: list[Probe]) -> None:
    shuffled = list(step.policies)
    random.shuffle(shuffled)
    other = Step(rename(shuffled, "other"), labels=step.labels, port_names=step.port_names)
    assert find_allowed(step, probes) == find_allowed(other, probes)


@given(steps(), steps(), samples())
def test_policies_only_add_for_those_that_are_isolated(one: Step, other: Step, probes: list[Probe]) -> None:
    fewer = [*DENY, *one.policies]
    more = [*fewer, *rename(other.policies, "other")]
    assert find_allowed(Step(fewer), probes) <= find_allowed(Step(more), probes)


@given(steps(), samples())
def test_deny_all_changes_nothing_for_those_that_are_isolated(step: Step, probes: list[Probe]) -> None:
    isolated = [
        one | {"spec": one["spec"] | {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}
        for one in step.policies
    ]
    namespaces = {one["metadata"]["namespace"] for one in isolated}
    denied = [one for one in DENY if one["metadata"]["namespace"] in namespaces]
    assert find_allowed(Step(isolated), probes) == find_allowed(Step([*isolated, *denied]), probes)
