"""Expectations of policies, and their mistakes."""

import pytest

from shibafu.documents.errors import DocumentError
from shibafu.policy.evaluation import PolicyEndpoint, Service, evaluate
from shibafu.policy.expectations import parse_expectations
from shibafu.policy.named_service import NamedService, find_service, parse_service
from shibafu.policy.policy_documents import parse_policies

TEXT = """\
- { from: web, to: 10.0.0.1, port: 5432, allowed: true }
- from: { labels: { app: web } }
  to: { namespace: prod, labels: { app: dns }, named-ports: { dns: 53/udp }, address: "fd00::1" }
  port: udp/53
  allowed: false
"""
POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: prod}
spec:
  podSelector: {matchLabels: {app: dns}}
  ingress:
  - from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}]
    ports: [{port: dns, protocol: UDP}]
"""


def test_what_a_table_says() -> None:
    first, second = parse_expectations(TEXT, "f")
    assert (first.source, first.destination, first.service) == ("web", "10.0.0.1", Service("TCP", 5432))
    assert (first.is_allowed, second.is_allowed) == (True, False)
    assert (first.place, second.place) == ("f:1", "f:2")
    assert isinstance(second.source, PolicyEndpoint)
    assert isinstance(second.destination, PolicyEndpoint)
    assert str(second.destination.address) == "fd00::1"


def test_pods_do_not_have_to_exist() -> None:
    second = parse_expectations(TEXT, "f")[1]
    assert isinstance(second.source, PolicyEndpoint)
    assert isinstance(second.destination, PolicyEndpoint)
    policies = parse_policies(POLICY, "f")
    assert evaluate(policies, second.source, second.destination, Service("UDP", 53)).is_allowed
    assert not evaluate(policies, second.source, second.destination, Service("UDP", 54)).is_allowed
    (by_name,) = parse_expectations(TEXT.split("\n", 1)[1].replace("udp/53", "udp/dns"), "f")
    assert by_name.service == NamedService("UDP", "dns")
    assert find_service(by_name.service, second.destination.pod) == second.service
    other = parse_expectations(TEXT.replace("app: web", "app: other"), "f")[1]
    assert isinstance(other.source, PolicyEndpoint)
    assert not evaluate(policies, other.source, second.destination, Service("UDP", 53)).is_allowed


def test_pods_of_an_expectation_are_not_the_same_one() -> None:
    pod = "{labels: {app: dns}, namespace: prod}"
    (one,) = parse_expectations(f"- {{ from: {pod}, to: {pod}, port: 1, allowed: false }}", "f")
    assert isinstance(one.source, PolicyEndpoint)
    assert isinstance(one.destination, PolicyEndpoint)
    assert not evaluate(
        parse_policies(POLICY, "f"), one.source, one.destination, Service("TCP", 1)
    ).is_allowed


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: b", 1, "the file must be a list"),
        ("- a", 1, "an expectation must map keys"),
        ("- {from: a, to: b, port: 80}", 1, 'needs "allowed"'),
        ("- {from: a, to: b, port: 80, allow: true}", 1, 'no key "allow"'),
        ("- from: a\n  to: b\n  port: tcp/X\n  allowed: true", 3, '"tcp/X" is not a port'),
        ("- from: a\n  to: b\n  port: 80\n  allowed: maybe", 4, '"allowed" is true or false'),
        ("- from:\n    label: {}\n  to: b\n  port: 80\n  allowed: true", 2, '"from" has no key "label"'),
        ("- from:\n    address: x\n  to: b\n  port: 80\n  allowed: true", 2, "does not appear to be"),
        (
            "- from:\n    named-ports: {Web: 80}\n  to: b\n  port: 80\n  allowed: true",
            2,
            "not a valid name of a port",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_expectations(text, "f")
    assert any(one.startswith(f"f:{line}: ") and said in one for one in str(caught.value).splitlines())


@pytest.mark.parametrize(
    ("text", "service"), [("80", ("TCP", 80)), ("udp/53", ("UDP", 53)), ("sctp/1", ("SCTP", 1))]
)
def test_a_service(text: str, service: tuple[str, int]) -> None:
    assert parse_service(text) == Service(*service)


@pytest.mark.parametrize(
    "text", ["", "/", "80/tcp", "icmp/1", "tcp/0", "tcp/", "tcp/65536", "tcp/udp/1", "0120"]
)
def test_what_is_not_a_service(text: str) -> None:
    with pytest.raises(ValueError, match="is not a port"):
        parse_service(text)
