"""Random policies for the containers of the conformance tests."""

from hypothesis import strategies as st

from netns.policy_cases import Step, block, express, match, policy
from support.policy_evaluator import Document

_selectors: st.SearchStrategy[Document] = st.one_of(
    st.just({}),
    st.sampled_from("abc").map(lambda name: match(pod=name)),
    st.builds(
        lambda operator, values: express("pod", operator, *values),
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from("abcd"), min_size=1, max_size=2),
    ),
    st.sampled_from(["Exists", "DoesNotExist"]).map(lambda operator: express("role", operator)),
)
_namespace_selectors: st.SearchStrategy[Document] = st.one_of(
    st.just({}),
    st.sampled_from("xyz").map(lambda name: match(ns=name)),
    st.sampled_from("xyz").map(lambda name: express("kubernetes.io/metadata.name", "NotIn", name)),
)
_blocks = st.sampled_from(
    [
        block("10.9.0.0/24"),
        block("10.0.0.0/8", "10.9.0.12/31", "10.9.0.13/32", "10.9.0.14/32"),
        block("10.9.0.8/29", "10.9.0.8/30"),
        block("0.0.0.0/0"),
        block("0.0.0.0/0", "10.9.0.0/24"),
        block("::/0"),
        block("fd00:9::/64", "fd00:9::b/128"),
        block("10.9.0.11/32"),
    ]
)
_peers = st.one_of(
    _blocks,
    st.builds(lambda one: {"podSelector": one}, _selectors),
    st.builds(lambda one: {"namespaceSelector": one}, _namespace_selectors),
    st.builds(
        lambda one, other: {"podSelector": one, "namespaceSelector": other}, _selectors, _namespace_selectors
    ),
)
_ports = st.sampled_from(
    [
        {},
        {"port": 80},
        {"port": 81},
        {"protocol": "UDP"},
        {"protocol": "UDP", "port": 80},
        {"protocol": "SCTP", "port": 80},
        {"port": 1, "endPort": 80},
        {"port": 80, "endPort": 90},
        {"port": "serve-80-tcp"},
        {"protocol": "UDP", "port": "serve-81-udp"},
        {"protocol": "UDP", "port": "serve-80-tcp"},
        {"port": "nothing"},
    ]
)


def _rules(peers: str) -> st.SearchStrategy[list[Document] | None]:
    parts = {peers: st.lists(_peers, max_size=2), "ports": st.lists(_ports, max_size=3)}
    return st.one_of(st.none(), st.lists(st.fixed_dictionaries({}, optional=parts), max_size=2))


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """Return random policies, and labels and names of ports."""
    policies = [
        policy(
            draw(_rules("from")),
            draw(_rules("to")),
            draw(_selectors),
            draw(st.sampled_from("xyz")),
            f"policy-{number}",
            draw(st.sampled_from([["Ingress"], ["Egress"], ["Egress", "Ingress"]])),
        )
        for number in range(draw(st.integers(0, 4)))
    ]
    labels = draw(st.sampled_from([{}, {"x/a": {"pod": "a", "role": "front"}, "y/b": {}}]))
    return Step(policies, labels=labels, port_names=draw(st.booleans()))
