"""Sets of policies for the conformance tests, after those of Kubernetes' e2e tests and of Cyclonus."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from netns.policy_lab import list_workloads
from support.policy_evaluator import Cluster, Document

_NAMESPACES = {name: {"ns": name} for name in "xyz"}
_TCP_80: Document = {"protocol": "TCP", "port": 80}
# Addresses that nobody has.
NOBODY: Document = {"ipBlock": {"cidr": "0.0.0.0/31"}}


@dataclass(frozen=True)
class Step:
    """What holds at one moment: policies, and what is not as usual of labels, names of ports, and pods."""

    policies: list[Document]
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: _NAMESPACES)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    port_names: bool = True
    absent: frozenset[str] = frozenset()

    def make_cluster(self) -> Cluster:
        """Return the cluster for the evaluator."""
        pods = list_workloads(self.labels, self.port_names)
        present = [pod for pod in pods if f"{pod.namespace}/{pod.name}" not in self.absent]
        return Cluster(present, self.namespaces, self.policies)


def match(**labels: str) -> Document:
    """Return a selector of labels."""
    return {"matchLabels": labels}


def express(key: str, operator: str, *values: str) -> Document:
    """Return a selector of one expression."""
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def pods(selector: Document, **namespaces: Document) -> Document:
    """Return a peer by pods, and with `namespaces=` also by namespaces."""
    return {"podSelector": selector} | ({"namespaceSelector": namespaces["namespaces"]} if namespaces else {})


def block(cidr: str, *excepted: str) -> Document:
    """Return a peer by addresses."""
    return {"ipBlock": {"cidr": cidr} | ({"except": list(excepted)} if excepted else {})}


def policy(
    ingress: list[Document] | None = None,
    egress: list[Document] | None = None,
    target: Document | None = None,
    namespace: str = "x",
    name: str = "base",
    types: list[str] | None = None,
) -> Document:
    """Return a policy, for x/a unless it is for others; a list that is None is left out."""
    spec: dict[str, Any] = {"podSelector": match(pod="a") if target is None else target}
    sides = {"Ingress": ingress, "Egress": egress}
    spec["policyTypes"] = types or [side for side, rules in sides.items() if rules is not None]
    spec |= {side.lower(): rules for side, rules in sides.items() if rules is not None}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _base(**changes: Any) -> Document:
    """Return the policy that generated cases change one thing of."""
    peers = {
        "from": [pods(express("pod", "In", "b", "c"), namespaces=express("ns", "In", "x", "y"))],
        "to": [pods(express("pod", "In", "a", "b"), namespaces=express("ns", "In", "y", "z"))],
    }
    ingress = {"from": peers["from"], "ports": [_TCP_80]}
    egress = {"to": peers["to"], "ports": [_TCP_80]}
    for side, rule, key in (("ingress", ingress, "from"), ("egress", egress, "to")):
        if f"{side}_peers" in changes:
            rule[key] = changes[f"{side}_peers"]
        if f"{side}_ports" in changes:
            rule["ports"] = changes[f"{side}_ports"]
    dns = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("TCP", "UDP")]}
    return policy([ingress], [egress, dns])


def _list_upstream() -> Iterator[tuple[str, list[Step]]]:
    """Yield the cases of Kubernetes' own end-to-end tests."""
    every, none = policy([{}], target={}), policy([], target={})

    def ingress(*peers: Document, **rest: Any) -> Step:
        return Step([policy([{"from": list(peers)} | rest])])

    yield "no policy", [Step([])]
    yield "deny ingress", [Step([policy([])])]
    yield "deny all of a namespace", [Step([policy([], [], target={})])]
    yield "deny egress of a namespace", [Step([policy(egress=[], target={})])]
    yield (
        "b and c of others",
        [ingress(pods(express("pod", "In", "b", "c"), namespaces=express("ns", "NotIn", "x")))],
    )
    from_y = {"from": [{"namespaceSelector": match(ns="y")}]}
    allow_81, allow_80 = (
        policy([from_y | {"ports": [{"port": port}]}], name=f"allow-{port}") for port in (81, 80)
    )
    yield "stacked", [Step([allow_81]), Step([allow_81, allow_80])]
    yield "allow all, updated to deny all", [Step([every]), Step([none]), Step([])]
    yield "named port", [ingress(ports=[{"port": "serve-81-tcp"}])]
    yield (
        "named port of a namespace",
        [ingress({"namespaceSelector": match(ns="y")}, ports=[{"port": "serve-80-tcp"}])],
    )
    labelled = _NAMESPACES | {"z": {"ns": "z", "team": "a"}}
    by_team = [policy([{"from": [{"namespaceSelector": match(team="a")}]}])]
    yield "a namespace's label added", [Step(by_team), Step(by_team, labelled)]
    by_role, changed = (
        [policy([{"from": [pods(match(role="front"))]}])],
        {"x/b": {"pod": "b", "role": "front"}},
    )
    yield "a peer's label added", [Step(by_role), Step(by_role, labels=changed), Step(by_role)]
    for_role = [policy([], target=match(role="front"))]
    yield "a target's label added", [Step(for_role), Step(for_role, labels=changed), Step(for_role)]
    both = policy(
        [{"from": [pods(match(pod="b"))]}],
        [{"ports": [_TCP_80]}, {"ports": [{"protocol": "UDP", "port": 53}]}],
    )
    yield "ingress from b and egress to 80 and 53", [Step([both])]
    to_ya = policy(egress=[{"to": [pods(match(pod="a"), namespaces=match(ns="y"))]}])
    yb_admits = policy(
        [{"from": [pods(match(pod="a"), namespaces=match(ns="x"))]}],
        target=match(pod="b"),
        namespace="y",
        name="admit",
    )
    yield "egress to y/a although y/b admits it", [Step([to_ya, yb_admits])]
    yield "all namespaces", [ingress({"namespaceSelector": {}})]
    yield "expressions", [ingress(pods(express("pod", "Exists"), namespaces=express("ns", "NotIn", "y")))]
    yield (
        "absent keys",
        [ingress(pods(express("role", "DoesNotExist"), namespaces=express("role", "NotIn", "a")))],
    )
    yield "selectors in two entries", [ingress(pods(match(pod="b")), {"namespaceSelector": match(ns="y")})]
    yield "selectors in one entry", [ingress(pods(match(pod="b"), namespaces=match(ns="y")))]
    two = [
        {"from": [pods(match(pod=name))], "ports": [{"port": port}]} for name, port in (("b", 80), ("c", 81))
    ]
    yield "ports in two rules", [Step([policy(two)])]
    yield "addresses", [ingress(block("10.9.0.0/24", "10.9.0.12/31", "10.9.0.14/32"))]
    excepted, admitted = block("10.0.0.0/8", "10.9.0.12/31"), block("10.9.0.12/32")
    yield "excepted here, admitted there", [ingress(excepted, admitted)]
    yield "egress to a namespace", [Step([policy(egress=[{"to": [{"namespaceSelector": match(ns="z")}]}])])]
    yield "SCTP only", [ingress(ports=[{"protocol": "SCTP", "port": 80}])]
    yield "UDP only", [ingress(ports=[{"protocol": "UDP", "port": 80}])]
    yield "types without rules", [Step([policy(types=["Ingress", "Egress"], target={})])]
    yield "rules of another type", [Step([policy([{"from": [pods({})]}], types=["Egress"])])]
    untyped = policy([{}], [{"ports": [_TCP_80]}])
    del untyped["spec"]["policyTypes"]
    yield "types by the rules", [Step([untyped])]


def _list_peers() -> Iterator[tuple[str, list[Step]]]:
    """Yield each kind of peer, alone and in pairs, for both directions."""
    kinds: dict[str, list[Document]] = {"none": []}
    pod_selectors = {"absent": None, "all": {}, "c": match(pod="c")}
    namespace_selectors = {"absent": None, "all": {}, "x": match(ns="x")}
    for pod_name, of_pods in pod_selectors.items():
        for name, of_namespaces in namespace_selectors.items():
            parts = {"podSelector": of_pods, "namespaceSelector": of_namespaces}
            peer = {key: selector for key, selector in parts.items() if selector is not None}
            if peer:
                kinds[f"pods {pod_name} of namespaces {name}"] = [peer]
    kinds["a block"] = [block("10.0.0.0/8")]
    kinds["a block with exceptions"] = [block("10.8.0.0/14", "10.10.0.0/15", "10.9.0.12/31")]
    kinds["a block of IPv6"] = [block("fd00:9::/32", "fd00:9::c/127")]
    kinds["all of IPv4"], kinds["nobody"] = [block("0.0.0.0/0")], [NOBODY]
    for name, peers in kinds.items():
        yield f"ingress peers: {name}", [Step([_base(ingress_peers=peers)])]
        yield f"egress peers: {name}", [Step([_base(egress_peers=peers)])]
    for (one, first), (other, second) in combinations(list(kinds.items())[1:11], 2):
        yield (
            f"peers: {one} and {other}",
            [Step([_base(ingress_peers=[*first, *second], egress_peers=[*second, *first])])],
        )


def _list_ports() -> Iterator[tuple[str, list[Step]]]:
    """Yield each kind of port, alone and in pairs, for both directions."""
    kinds: dict[str, list[Document]] = {"none": []}
    for protocol in (None, "TCP", "UDP", "SCTP"):
        for port in (None, 80, 81):
            parts = {"protocol": protocol, "port": port}
            stated = {key: value for key, value in parts.items() if value is not None}
            kinds[f"{protocol or 'default'} {port or 'any'}"] = [stated]
    for protocol, name in (
        ("TCP", "serve-80-tcp"),
        ("TCP", "serve-81-tcp"),
        ("UDP", "serve-80-udp"),
        ("UDP", "serve-81-udp"),
        ("SCTP", "serve-80-sctp"),
        ("UDP", "serve-80-tcp"),
        ("TCP", "serve-9-tcp"),
    ):
        kinds[f"{protocol} {name}"] = [{"protocol": protocol, "port": name}]
    kinds["53 to 80"] = [{"port": 53, "endPort": 80}]
    kinds["53 to 84"] = [{"protocol": "UDP", "port": 53, "endPort": 84}]
    kinds["unserved"] = [{"port": 7981}]
    for name, ports in kinds.items():
        yield f"ports: {name}", [Step([_base(ingress_ports=ports, egress_ports=ports)])]
        yield (
            f"ports: {name}, for everybody",
            [Step([_base(ingress_ports=ports, egress_ports=ports, ingress_peers=[], egress_peers=[])])],
        )
    pairs: list[tuple[Document, Document]] = [
        ({"port": 80}, {}),
        ({"port": 80}, {"port": 81}),
        ({"port": 80}, {"port": "serve-81-tcp"}),
        ({"port": 80}, {"protocol": "UDP", "port": 81}),
        ({"port": 79, "endPort": 80}, {"port": 80, "endPort": 81}),
        ({"protocol": "UDP", "port": "serve-80-udp"}, {"port": "serve-81-tcp"}),
    ]
    for first, second in pairs:
        ports = [first, second]
        yield f"ports: {first} and {second}", [Step([_base(ingress_ports=ports, egress_ports=ports)])]
    unnamed = [_base(ingress_ports=[{"port": "serve-80-tcp"}], egress_ports=[{"port": "serve-80-tcp"}])]
    yield "ports lose their names", [Step(unnamed), Step(unnamed, port_names=False)]


def _list_conflicts() -> Iterator[tuple[str, list[Step]]]:
    """Yield what one side allows and the other denies, and policies that say different things of one pod."""
    a_to_b = policy(egress=[{"to": [pods(match(pod="b"))]}], name="out")
    b_admits = policy([{"from": [pods(match(pod="a"))]}], target=match(pod="b"), name="in")
    b_denies = policy([], target=match(pod="b"), name="in")
    a_denied = policy(egress=[], name="out")
    yield "both sides allow", [Step([a_to_b, b_admits])]
    yield "the source allows, the destination denies", [Step([a_to_b, b_denies])]
    yield "the source denies, the destination allows", [Step([a_denied, b_admits])]
    for name, admitted in (("pods", pods({})), ("addresses", block("10.9.0.0/24"))):
        deny, admit = policy([], name="deny"), policy([{"from": [admitted]}], name="admit")
        yield f"denied and admitted by {name}", [Step([deny, admit]), Step([admit, deny]), Step([deny])]
        nobody = policy([{"from": [NOBODY]}], name="deny")
        yield f"nobody, and admitted by {name}", [Step([nobody, admit]), Step([nobody])]
        out = policy(egress=[{"to": [admitted]}], name="admit")
        yield f"egress denied and admitted by {name}", [Step([a_denied, out]), Step([a_denied])]


def _list_actions() -> Iterator[tuple[str, list[Step]]]:
    """Yield what changes while containers run."""
    base, other = _base(), policy([], target={}, namespace="y", name="other")
    yield "created, added, removed", [Step([]), Step([base]), Step([base, other]), Step([other]), Step([])]
    updated = _base(ingress_peers=[{"namespaceSelector": match(ns="z")}], egress_ports=[{"port": 81}])
    yield "updated", [Step([base]), Step([updated]), Step([base])]
    renamed = _NAMESPACES | {"y": {"ns": "w"}, "z": {"ns": "y"}}
    yield "namespaces change their labels", [Step([base]), Step([base], renamed), Step([base])]
    swapped = {"x/a": {"pod": "b"}, "x/b": {"pod": "a"}, "y/a": {"pod": "c"}}
    missing = frozenset({"x/b", "y/a"})
    yield "pods go and come", [Step([base]), Step([base], absent=missing), Step([base])]
    without_y = _NAMESPACES.copy()
    del without_y["y"]
    no_y = Step([base], without_y, absent=frozenset({"y/a", "y/b", "y/c"}))
    yield "a namespace comes and goes", [no_y, Step([base]), no_y]
    yield "pods change their labels", [Step([base]), Step([base], labels=swapped), Step([base])]


# Each case has steps, one after the other.
CASES = dict(
    case
    for cases in (_list_upstream, _list_peers, _list_ports, _list_conflicts, _list_actions)
    for case in cases()
)
