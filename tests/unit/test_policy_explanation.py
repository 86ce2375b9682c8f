"""What decides about a connection, in words."""

from ipaddress import ip_address

import pytest

from shibafu.policy.evaluation import Decision, PolicyEndpoint, Service, evaluate
from shibafu.policy.explanation import describe_rule, describe_side, explain_decision
from shibafu.policy.model import Pod
from shibafu.policy.policy_documents import parse_policies

HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
TEXT = f"""{HEAD}metadata: {{name: db}}
spec:
  podSelector: {{matchLabels: {{app: db}}}}
  ingress:
  - from: [{{podSelector: {{matchLabels: {{app: web}}}}}}]
    ports: [{{port: 5432}}]
  - from: [{{namespaceSelector: {{}}}}]
    ports: [{{port: 80}}]
---
{HEAD}metadata: {{name: deny}}
spec: {{podSelector: {{}}}}
"""
POLICIES = parse_policies(TEXT, "db.yaml")


def decide(app: str, port: int) -> Decision:
    source, destination = (
        PolicyEndpoint(ip_address(f"10.0.0.{number}"), Pod("default", name, {"app": name}))
        for number, name in enumerate((app, "db"), 1)
    )
    return evaluate(POLICIES, source, destination, Service("TCP", port))


def test_what_allows_is_named() -> None:
    assert list(explain_decision(decide("web", 5432))) == [
        "egress of the source: allowed, no policy selects it",
        "ingress of the destination: allowed by rule 1 of default/db (db.yaml:7)",
    ]


def test_what_denies_is_named_with_its_rules() -> None:
    assert list(explain_decision(decide("other", 5432))) == [
        "egress of the source: allowed, no policy selects it",
        "ingress of the destination: denied, default/db and default/deny isolate it and no rule allows this",
        "  rule 1 of default/db is for other peers: pods with app=web of the namespace: tcp/5432",
        "  rule 2 of default/db is for other ports: all pods of all namespaces: tcp/80",
    ]


def test_a_side_for_programs() -> None:
    assert describe_side(decide("web", 5432).ingress) == {
        "allowed": True,
        "isolated": True,
        "policies": ["default/db", "default/deny"],
        "rule": {
            "policy": "default/db",
            "number": 1,
            "place": "db.yaml:7",
            "allows": "pods with app=web of the namespace: tcp/5432",
        },
        "exemption": "",
    }
    denied = describe_side(decide("other", 22).ingress)
    assert (denied["allowed"], denied["rule"]) == (False, None)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("{}", "any address: any port"),
        ("{from: [{podSelector: {}}]}", "all pods of the namespace: any port"),
        ("{from: [{namespaceSelector: {}}], ports: [{}]}", "all pods of all namespaces: all of tcp"),
        (
            "{from: [{namespaceSelector: {matchLabels: {a: b}}}], ports: [{port: web, protocol: UDP}]}",
            "all pods of namespaces with a=b: udp/web",
        ),
        (
            "{from: [{podSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], "
            "ports: [{port: 1, endPort: 9}]}",
            "all pods of the namespace; addresses 10.0.0.0/8 except 10.1.0.0/16: tcp/1-9",
        ),
    ],
)
def test_a_rule_in_words(rule: str, words: str) -> None:
    text = f"{HEAD}metadata: {{name: p}}\nspec: {{ingress: [{rule}]}}"
    assert describe_rule(parse_policies(text, "f").policies[0].ingress[0]) == words
