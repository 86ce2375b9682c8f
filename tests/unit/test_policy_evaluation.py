"""Who may connect to whom: the truth of conformance tests, and what the API says, sentence by sentence."""

from ipaddress import ip_address
from typing import Any

import pytest

from netns.policy_cases import CASES, Step, block, express, match, policy
from netns.policy_lab import calc_expected, list_probes, list_workloads, make_namespaces
from shibafu.policy.evaluation import PolicyEndpoint, Service, evaluate
from shibafu.policy.model import NamedPort, Pod
from support.policy_evaluator import Document
from support.policy_model import is_allowed, read_documents

NAMES = "abc"
CLUSTER = {f"{pod.namespace}/{pod.name}": pod for pod in list_workloads()}
PORTS = (80, 81)
PROTOCOLS = ("TCP", "UDP", "SCTP")
EVERYBODY = set(CLUSTER)
X_A = match(pod="a")


def ingress(name: str, *rules: Document, **changes: Any) -> Document:
    """Return a policy for ingress, of x/a unless it is changed."""
    return policy(list(rules), name=name, **changes)


def egress(name: str, *rules: Document, **changes: Any) -> Document:
    """Return a policy for egress, of x/a unless it is changed."""
    return policy(egress=list(rules), name=name, **changes)


def spread(text: str) -> set[str]:
    """Return the containers of a row of the table, such as `x/a, */c`."""
    found = set()
    for part in text.split(", "):
        space, _, name = part.partition("/")
        found |= {
            f"{one}/{other}"
            for one in ("xyz" if space == "*" else space)
            for other in (NAMES if name == "*" else name)
        }
    return found


def find_allowed(
    policies: list[Document], outgoing: bool = False, family: int = 4, port: int = 80, protocol: str = "TCP"
) -> set[str]:
    """Return who reaches x/a, or whom it reaches."""
    documents = [*make_namespaces(Step([]).namespaces), *policies]
    declared, x_a = read_documents(documents), CLUSTER["x/a"]
    return {
        key
        for key, other in CLUSTER.items()
        if is_allowed(declared, *((x_a, other) if outgoing else (other, x_a)), family, protocol, port)
    }


C = match(pod="c")
Y = match(ns="y")
Z = match(ns="z")
B_C = express("pod", "In", "b", "c")
NOT_X = express("ns", "NotIn", "x")
BLOCK = block("10.9.0.0/24", "10.9.0.12/31", "10.9.0.14/32")
TRUTH: list[tuple[list[Document], int, str]] = [
    ([], 4, "x/a"),
    ([{"podSelector": {}}], 4, "x/*"),
    ([{"podSelector": C}], 4, "x/a, x/c"),
    ([{"namespaceSelector": {}}], 4, "*/*"),
    ([{"podSelector": C, "namespaceSelector": {}}], 4, "x/a, */c"),
    ([{"namespaceSelector": Y}], 4, "x/a, y/*"),
    ([{"podSelector": C, "namespaceSelector": Z}], 4, "x/a, z/c"),
    ([{"podSelector": B_C, "namespaceSelector": NOT_X}], 4, "x/a, y/b, y/c, z/b, z/c"),
    ([BLOCK], 4, "x/a, y/b, y/c"),
    ([BLOCK], 6, "x/a"),
    ([{"podSelector": C}, {"namespaceSelector": Y}], 4, "x/a, x/c, y/*"),
]


@pytest.mark.parametrize(("peers", "family", "expected"), TRUTH)
def test_the_truth_of_ingress(peers: list[Document], family: int, expected: str) -> None:
    rules = [{"from": peers}] if peers else []
    assert find_allowed([ingress("p", *rules)], family=family) == spread(expected)


@pytest.mark.parametrize(("peers", "family", "expected"), TRUTH)
def test_the_truth_of_egress(peers: list[Document], family: int, expected: str) -> None:
    rules = [{"to": peers}] if peers else []
    assert find_allowed([egress("p", *rules)], outgoing=True, family=family) == spread(expected)


def test_who_is_not_selected_is_not_restricted() -> None:
    assert find_allowed([]) == EVERYBODY
    denied = [ingress("p", target=match(pod="b")), ingress("q", target={}, namespace="y")]
    assert find_allowed(denied) == EVERYBODY


def test_both_directions_are_independent() -> None:
    assert find_allowed([ingress("p")], outgoing=True) == EVERYBODY
    assert find_allowed([egress("p")]) == EVERYBODY


def test_a_connection_needs_both_sides() -> None:
    y_b = {"namespaceSelector": Y, "podSelector": match(pod="b")}
    x_a = {"namespaceSelector": match(ns="x"), "podSelector": X_A}
    out = egress("out", {"to": [y_b]})
    into = ingress("in", {"from": [x_a]}, target=match(pod="b"), namespace="y")
    deny = ingress("deny", target=match(pod="b"), namespace="y")
    assert find_allowed([out, into], outgoing=True) == spread("x/a, y/b")
    assert find_allowed([out, deny], outgoing=True) == {"x/a"}
    assert find_allowed([egress("none"), into], outgoing=True) == {"x/a"}


def test_policies_only_add() -> None:
    policies = [
        ingress("b", {"from": [{"podSelector": C}]}),
        ingress("a", {"from": [{"namespaceSelector": Y}]}),
    ]
    assert find_allowed(policies) == find_allowed(policies[::-1]) == spread("x/a, x/c, y/*")
    assert find_allowed([*policies, ingress("deny")]) == spread("x/a, x/c, y/*")


@pytest.mark.parametrize(
    ("spec", "into", "out"),
    [
        ({"ingress": []}, False, True),
        ({}, False, True),
        ({"egress": []}, False, True),
        ({"egress": [{}]}, False, True),
        ({"egress": [{"ports": [{"port": 81}]}]}, False, False),
        ({"policyTypes": ["Egress"], "ingress": [{}]}, True, False),
        ({"policyTypes": ["Egress"], "egress": [{}]}, True, True),
        ({"policyTypes": ["Ingress"], "ingress": [{}], "egress": []}, True, True),
        ({"policyTypes": ["Ingress", "Egress"]}, False, False),
        ({"ingress": [{}]}, True, True),
        ({"ingress": [{"from": [], "ports": []}]}, True, True),
    ],
)
def test_what_types_and_empty_lists_mean(spec: dict[str, Any], into: bool, out: bool) -> None:
    stated = policy([], target=X_A)
    stated["spec"] = {"podSelector": X_A} | spec
    policies = [stated]
    assert find_allowed(policies) == (EVERYBODY if into else {"x/a"})
    assert find_allowed(policies, outgoing=True) == (EVERYBODY if out else {"x/a"})


@pytest.mark.parametrize(
    ("selector", "is_isolated"),
    [
        (express("pod", "In", "a", "b"), True),
        (express("pod", "NotIn", "b"), True),
        (express("pod", "NotIn", "a"), False),
        (express("other", "NotIn", "a"), True),
        (express("pod", "Exists"), True),
        (express("other", "Exists"), False),
        (express("pod", "DoesNotExist"), False),
        (match(pod="a") | express("pod", "NotIn", "a"), False),
    ],
)
def test_operators(selector: Document, is_isolated: bool) -> None:
    assert (find_allowed([ingress("p", target=selector)]) == {"x/a"}) is is_isolated


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({}, "TCP 80, TCP 81"),
        ({"port": 80}, "TCP 80"),
        ({"protocol": "UDP"}, "UDP 80, UDP 81"),
        ({"protocol": "SCTP", "port": 80}, "SCTP 80"),
        ({"port": 53, "endPort": 80}, "TCP 80"),
        ({"port": 80, "endPort": 80}, "TCP 80"),
        ({"protocol": "UDP", "port": 53, "endPort": 84}, "UDP 80, UDP 81"),
        ({"port": "serve-80-tcp"}, "TCP 80"),
        ({"protocol": "UDP", "port": "serve-81-udp"}, "UDP 81"),
        ({"protocol": "UDP", "port": "serve-80-tcp"}, ""),
        ({"port": "serve-80-udp"}, ""),
        ({"port": "nobody"}, ""),
        ({"port": 79}, ""),
    ],
)
def test_ports(entry: Document, expected: str) -> None:
    for policies, outgoing in (
        ([ingress("p", {"ports": [entry]})], False),
        ([egress("p", {"ports": [entry]})], True),
    ):
        found = [
            f"{protocol} {port}"
            for protocol in PROTOCOLS
            for port in PORTS
            if find_allowed(policies, outgoing, port=port, protocol=protocol) == EVERYBODY
        ]
        assert ", ".join(found) == expected


def test_a_named_port_of_egress_is_each_destinations_own() -> None:
    policies = read_documents([egress("p", {"ports": [{"port": "web"}]})])
    source = PolicyEndpoint(ip_address("10.9.0.11"), Pod("x", "a", {"pod": "a"}))
    for port in PORTS:
        pod = Pod("x", "b", named_ports=(NamedPort("web", "TCP", port),))
        destination = PolicyEndpoint(ip_address("10.9.0.12"), pod)
        allowed = [
            one for one in PORTS if evaluate(policies, source, destination, Service("TCP", one)).is_allowed
        ]
        assert allowed == [port]
    outside = PolicyEndpoint(ip_address("192.0.2.1"))
    assert not evaluate(policies, source, outside, Service("TCP", 80)).is_allowed


def test_only_a_rule_without_ports_allows_icmp() -> None:
    source, destination = (
        PolicyEndpoint(ip_address(f"10.9.0.1{n}"), Pod("x", "ab"[n], {"pod": "ab"[n]})) for n in (1, 0)
    )
    for rule, is_expected in (
        ({}, True),
        ({"ports": [{}]}, False),
        ({"ports": [{"protocol": "UDP"}]}, False),
    ):
        policies = read_documents([ingress("p", rule)])
        decision = evaluate(policies, source, destination, Service("ICMP"))
        assert decision.is_allowed is is_expected


def test_addresses_outside_are_only_taken_by_blocks_and_rules_without_peers() -> None:
    pod = PolicyEndpoint(ip_address("10.9.0.11"), Pod("x", "a", {"pod": "a"}))
    outside = PolicyEndpoint(ip_address("192.0.2.1"))
    for rule, is_expected in (
        ({}, True),
        ({"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}, True),
        ({"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["192.0.2.0/31"]}}]}, False),
        ({"from": [{"namespaceSelector": {}}]}, False),
        ({"from": [{"podSelector": {}}]}, False),
    ):
        policies = read_documents([ingress("p", rule)])
        assert evaluate(policies, outside, pod, Service("TCP", 80)).is_allowed is is_expected


def test_the_host_is_always_allowed() -> None:
    pod = PolicyEndpoint(ip_address("10.9.0.11"), Pod("x", "a", {"pod": "a"}))
    host = PolicyEndpoint(ip_address("10.9.0.1"), is_host=True)
    policies = read_documents([ingress("in"), egress("out")])
    assert evaluate(policies, host, pod, Service("TCP", 80)).is_allowed
    decision = evaluate(policies, pod, host, Service("TCP", 80))
    assert decision.is_allowed
    assert decision.egress.exemption == "the host is always allowed"


def test_a_decision_names_the_policy_and_the_rule() -> None:
    rules: list[Document] = [
        {"from": [{"podSelector": C}]},
        {"from": [{"podSelector": {}}], "ports": [{"port": 81}]},
    ]
    policies = read_documents([ingress("b", *rules), ingress("a"), egress("out", target=match(pod="c"))])
    b, c = (PolicyEndpoint(ip_address("10.9.0.12"), Pod("x", name, {"pod": name})) for name in "bc")
    a = PolicyEndpoint(ip_address("10.9.0.11"), Pod("x", "a", {"pod": "a"}))
    decision = evaluate(policies, b, a, Service("TCP", 81))
    assert decision.is_allowed
    assert decision.egress.policies == ()
    assert [one.name for one in decision.ingress.policies] == ["a", "b"]
    assert decision.ingress.deciding is not None
    assert (decision.ingress.deciding.policy.name, decision.ingress.deciding.index) == ("b", 1)
    denied = evaluate(policies, b, a, Service("TCP", 80)).ingress
    assert (denied.allows, denied.deciding) == (False, None)
    assert [(one.has_peer, one.has_port) for one in denied.outcomes] == [(False, True), (True, False)]
    other = evaluate(policies, c, a, Service("TCP", 80))
    assert (other.is_allowed, other.egress.allows, other.ingress.allows) == (False, False, True)


STEPS = {f"{name}, {number}": step for name, steps in CASES.items() for number, step in enumerate(steps, 1)}


@pytest.mark.parametrize("name", STEPS)
def test_a_case(name: str) -> None:
    """What the containers of the conformance tests reach."""
    cluster = STEPS[name].make_cluster()
    pods = {f"{pod.namespace}/{pod.name}": pod for pod in cluster.pods}
    declared = read_documents([*make_namespaces(cluster.namespaces), *cluster.policies])
    allowed = {
        probe
        for probe in list_probes()
        if {probe.source, probe.destination} <= pods.keys()
        and is_allowed(declared, pods[probe.source], pods[probe.destination], *probe[2:])
    }
    assert allowed == calc_expected(cluster)
