"""Policies for nine containers in three namespaces, as Kubernetes' conformance tests have them.

The namespaces x, y and z have a label `ns`, the containers a, b and c a label `pod`. x and y share a bridge,
z has another. Each container serves the ports 80 and 81. The cases follow those of Cyclonus.
https://github.com/mattfenwick/cyclonus
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from support.policy_oracle import Container, Document

NAMESPACES = ("x", "y", "z")
NAMES = ("a", "b", "c")
PORTS = (80, 81)
# The label that each namespace has.
NAME_LABEL = "kubernetes.io/metadata.name"
_NETWORKS = {"x": 0, "y": 0, "z": 1}
_FIRST_HOSTS = {"x": 11, "y": 14, "z": 11}
SUBNETS = {0: ("10.9.0.0/24", "fd09::/64"), 1: ("10.9.1.0/24", "fd09:0:0:1::/64")}


@dataclass(frozen=True)
class PolicyCase:
    """Policies that apply together, and what is different about the cluster.

    Args:
        name: of the case.
        policies: documents of kind NetworkPolicy.
        namespace_labels: further labels of namespaces.
        labels: further labels of containers, by namespace and name.
    """

    name: str
    policies: list[Document]
    namespace_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def documents(self) -> list[Document]:
        """Return all documents: the namespaces and the policies."""
        return [
            *(
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": name, "labels": {"ns": name, **self.namespace_labels.get(name, {})}},
                }
                for name in NAMESPACES
            ),
            *self.policies,
        ]

    def containers(self) -> list[Container]:
        """Return the nine containers."""
        return [
            make_container(namespace, name, self.labels.get(f"{namespace}/{name}", {}))
            for namespace in NAMESPACES
            for name in NAMES
        ]


def make_container(namespace: str, name: str, labels: Mapping[str, str]) -> Container:
    """Return one of the nine containers.

    Args:
        namespace: one of `NAMESPACES`.
        name: one of `NAMES`.
        labels: besides `pod`.
    """
    host = _FIRST_HOSTS[namespace] + NAMES.index(name)
    network = _NETWORKS[namespace]
    return Container(
        namespace,
        name,
        {4: f"10.9.{network}.{host}", 6: f"fd09:0:0:{network}::{host}"},
        {"pod": name, **labels},
        {
            f"serve-{port}-{protocol.lower()}": (protocol, port)
            for port in PORTS
            for protocol in ("TCP", "UDP")
        },
    )


def policy(name: str, pods: Any, namespace: str = "x", **spec: Any) -> Document:
    """Return a document of kind NetworkPolicy."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": pods, **spec},
    }


def labelled(**labels: str) -> Document:
    """Return a selector by labels."""
    return {"matchLabels": labels}


def expression(key: str, operator: str, *values: str) -> Document:
    """Return a selector by one expression."""
    stated: Document = {"key": key, "operator": operator}
    return {"matchExpressions": [stated | ({"values": list(values)} if values else {})]}


def ingress(name: str, *rules: Document, pods: Any = None, namespace: str = "x") -> Document:
    """Return a policy of x/a, or others, for ingress."""
    target = labelled(pod="a") if pods is None else pods
    return policy(name, target, namespace, policyTypes=["Ingress"], ingress=list(rules))


def egress(name: str, *rules: Document, pods: Any = None, namespace: str = "x") -> Document:
    """Return a policy of x/a, or others, for egress."""
    target = labelled(pod="a") if pods is None else pods
    return policy(name, target, namespace, policyTypes=["Egress"], egress=list(rules))


def both(name: str, peers: list[Document] | None, ports: list[Document] | None) -> list[Document]:
    """Return two policies of x/a, one for each direction, with the same peers and ports."""
    rest: Document = {} if ports is None else {"ports": ports}
    into = rest | ({} if peers is None else {"from": peers})
    out = rest | ({} if peers is None else {"to": peers})
    return [ingress(f"{name}-in", into), egress(f"{name}-out", out)]


def base(**changes: Any) -> Document:
    """Return the policy that generated cases start from."""
    spec: Document = {
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "ports": [{"protocol": "TCP", "port": 80}],
                "from": [
                    {
                        "namespaceSelector": expression("ns", "In", "x", "y"),
                        "podSelector": expression("pod", "In", "b", "c"),
                    }
                ],
            }
        ],
        "egress": [
            {
                "ports": [{"protocol": "TCP", "port": 80}],
                "to": [
                    {
                        "namespaceSelector": expression("ns", "In", "y", "z"),
                        "podSelector": expression("pod", "In", "a", "b"),
                    }
                ],
            },
            {"ports": [{"protocol": "TCP", "port": 53}, {"protocol": "UDP", "port": 53}]},
        ],
    }
    return policy("base", labelled(pod="a"), **(spec | changes))


def calc_peers() -> dict[str, Document]:
    """Return entries of `from` and `to` by name."""
    peers: dict[str, Document] = {}
    for pods_name, pods in (("absent", None), ("all", {}), ("c", labelled(pod="c"))):
        for spaces_name, spaces in (("absent", None), ("all", {}), ("x", labelled(ns="x"))):
            entry = {"podSelector": pods, "namespaceSelector": spaces}
            stated = {key: value for key, value in entry.items() if value is not None}
            if stated:
                peers[f"pods {pods_name}, namespaces {spaces_name}"] = stated
    peers["block"] = {"ipBlock": {"cidr": "10.0.0.0/8"}}
    peers["block with exception"] = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.9.0.12/31"]}}
    peers["other family"] = {"ipBlock": {"cidr": "fd09::/64", "except": ["fd09::14/128"]}}
    return peers


def calc_ports() -> dict[str, Document]:
    """Return entries of `ports` by name."""
    ports: dict[str, Document] = {}
    for protocol in (None, "TCP", "UDP", "SCTP"):
        for port in (None, 80, 81, "serve-80-tcp", "serve-81-udp"):
            entry = {"protocol": protocol, "port": port}
            ports[f"{protocol or 'absent'} {port or 'any'}"] = {
                key: value for key, value in entry.items() if value is not None
            }
    ports["53-80"] = {"protocol": "TCP", "port": 53, "endPort": 80}
    ports["53-84"] = {"protocol": "UDP", "port": 53, "endPort": 84}
    ports["unserved name"] = {"protocol": "TCP", "port": "nobody"}
    ports["unserved number"] = {"protocol": "TCP", "port": 79}
    return ports


def generate_cases() -> Iterator[PolicyCase]:
    """Yield all cases; each has a name of its own."""
    yield PolicyCase("none", [])
    yield PolicyCase("base", [base()])
    yield from _generate_upstream()
    yield from _generate_types()
    peers, ports = calc_peers(), calc_ports()
    for name, peer in peers.items():
        yield PolicyCase(f"peer {name}", both("peer", [peer], None))
    for (one, first), (other, second) in combinations(peers.items(), 2):
        yield PolicyCase(f"peers {one} or {other}", both("peers", [first, second], None))
    for name, port in ports.items():
        yield PolicyCase(f"port {name}", both("port", None, [port]))
    for one, other in (
        ("TCP any", "TCP 80"),
        ("TCP 80", "TCP 81"),
        ("TCP 80", "UDP serve-81-udp"),
        ("TCP 80", "UDP 81"),
        ("53-80", "TCP 81"),
        ("53-84", "53-80"),
        ("unserved name", "UDP 80"),
    ):
        yield PolicyCase(f"ports {one} or {other}", both("ports", None, [ports[one], ports[other]]))
    yield from _generate_conflicts()


def _generate_upstream() -> Iterator[PolicyCase]:
    """Yield what Kubernetes' own tests have."""
    everything: Document = {}
    all_pods: Document = {}
    yield PolicyCase("default deny ingress", [ingress("deny", pods=all_pods)])
    yield PolicyCase(
        "deny all", [policy("deny", all_pods, policyTypes=["Ingress", "Egress"], ingress=[], egress=[])]
    )
    yield PolicyCase(
        "allow all", [ingress("deny", pods=all_pods), ingress("allow", everything, pods=all_pods)]
    )
    not_x = {
        "namespaceSelector": expression("ns", "NotIn", "x"),
        "podSelector": expression("pod", "In", "b", "c"),
    }
    yield PolicyCase("b and c of other namespaces", [ingress("p", {"from": [not_x]})])
    from_y = {"from": [{"namespaceSelector": labelled(ns="y")}]}
    yield PolicyCase(
        "stacked policies",
        [
            ingress("eighty-one", from_y | {"ports": [{"port": 81}]}),
            ingress("eighty", from_y | {"ports": [{"port": 80}]}),
        ],
    )
    yield PolicyCase("named port", [ingress("p", {"ports": [{"port": "serve-81-tcp"}]})])
    yield PolicyCase("named port from y", [ingress("p", from_y | {"ports": [{"port": "serve-80-tcp"}]})])
    yield PolicyCase(
        "two ports in two rules", [ingress("p", {"ports": [{"port": 80}]}, {"ports": [{"port": 81}]})]
    )
    new = {"namespaceSelector": labelled(team="new")}
    yield PolicyCase("no namespace has the label", [ingress("p", {"from": [new]})])
    yield PolicyCase("a namespace was labelled", [ingress("p", {"from": [new]})], {"y": {"team": "new"}})
    by_label = ingress("p", {"from": [{"podSelector": labelled(role="client")}]})
    yield PolicyCase("no peer has the label", [by_label])
    yield PolicyCase("a peer was labelled", [by_label], labels={"x/b": {"role": "client"}})
    target = ingress("p", pods=labelled(role="server"))
    yield PolicyCase("no target has the label", [target])
    yield PolicyCase("a target was labelled", [target], labels={"x/a": {"role": "server"}})
    yield PolicyCase(
        "egress to y/a only, though y/b admits x/a",
        [
            egress(
                "out", {"to": [{"namespaceSelector": labelled(ns="y"), "podSelector": labelled(pod="a")}]}
            ),
            ingress(
                "in",
                {"from": [{"namespaceSelector": labelled(ns="x")}]},
                pods=labelled(pod="b"),
                namespace="y",
            ),
        ],
    )
    excepted = {"ipBlock": {"cidr": "10.9.0.0/24", "except": ["10.9.0.12/31", "10.9.0.14/32"]}}
    yield PolicyCase("excepted addresses", [ingress("p", {"from": [excepted]})])
    admitted = {"ipBlock": {"cidr": "10.9.0.14/32"}}
    yield PolicyCase(
        "excepted by one, admitted by another",
        [ingress("one", {"from": [excepted]}), ingress("other", {"from": [admitted]})],
    )
    yield PolicyCase("all of IPv4", [ingress("p", {"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]})])
    yield PolicyCase(
        "by name", [ingress("p", {"from": [{"namespaceSelector": labelled(**{NAME_LABEL: "z"})}]})]
    )


def _generate_types() -> Iterator[PolicyCase]:
    """Yield what isolates, and what does not."""
    rule = [{"ports": [{"port": 80}]}]
    for name, spec in (
        ("types absent", {"ingress": rule}),
        ("types absent, egress empty", {"ingress": rule, "egress": []}),
        ("types absent, egress stated", {"egress": rule}),
        ("types empty", {"policyTypes": [], "ingress": rule, "egress": rule}),
        ("egress with rules for ingress", {"policyTypes": ["Egress"], "ingress": rule}),
        ("ingress with rules for egress", {"policyTypes": ["Ingress"], "egress": rule}),
        ("both, one with rules", {"policyTypes": ["Ingress", "Egress"], "egress": [{}]}),
        ("empty lists of a rule", {"ingress": [{"from": [], "ports": []}]}),
    ):
        yield PolicyCase(name, [policy("p", labelled(pod="a"), **spec)])
    for operator, values in (("In", "ab"), ("NotIn", "ab"), ("Exists", ""), ("DoesNotExist", "")):
        yield PolicyCase(f"targets by {operator}", [ingress("p", pods=expression("pod", operator, *values))])
    yield PolicyCase("NotIn of an absent key", [ingress("p", pods=expression("other", "NotIn", "a"))])


def _generate_conflicts() -> Iterator[PolicyCase]:
    """Yield policies of which one denies what another allows."""
    nobody = {"ipBlock": {"cidr": "0.0.0.0/31"}}
    y_b = {"namespaceSelector": labelled(ns="y"), "podSelector": labelled(pod="b")}
    x_a = {"namespaceSelector": labelled(ns="x"), "podSelector": labelled(pod="a")}
    for name, peer in (("pods", None), ("addresses", nobody)):
        deny = {"from": [peer]} if peer else None
        rules = [deny] if deny else []
        out = [{"to": [peer]}] if peer else []
        yield PolicyCase(
            f"source allows, destination denies by {name}",
            [egress("allow", {"to": [y_b]}), ingress("deny", *rules, pods=labelled(pod="b"), namespace="y")],
        )
        yield PolicyCase(
            f"destination allows, source denies by {name}",
            [egress("deny", *out), ingress("allow", {"from": [x_a]}, pods=labelled(pod="b"), namespace="y")],
        )
        yield PolicyCase(
            f"one target, both by {name}", [ingress("deny", *rules), ingress("allow", {"from": [y_b]})]
        )


CASES = list(generate_cases())
