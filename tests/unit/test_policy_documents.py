"""Documents that declare policies: what they say, and their mistakes with their lines."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.documents.errors import DocumentError
from shibafu.documents.json_lines import format_json_lines
from shibafu.policy.model import (
    IpBlock,
    Namespace,
    Policy,
    PolicyPeer,
    PolicyPort,
    PolicyRule,
    PolicySet,
)
from shibafu.policy.policy_documents import parse_policies, parse_sources
from shibafu.policy.selector import EXISTS, IN, NOT_IN, Requirement, Selector

HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n"
WHOLE = """\
# The example of Kubernetes' documentation, with all that a policy can say.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: test-network-policy
  namespace: prod
spec:
  podSelector:
    matchLabels: { role: db }
    matchExpressions:
      - { key: tier, operator: NotIn, values: [old, test] }
  policyTypes: [Egress, Ingress]
  ingress:
    - from:
        - ipBlock:
            cidr: 172.17.0.0/16
            except: [172.17.1.0/24]
        - namespaceSelector:
            matchLabels: { project: myproject }
        - podSelector:
            matchLabels: { role: frontend }
        - namespaceSelector: {}
          podSelector:
            matchExpressions: [{ key: role, operator: Exists }]
      ports:
        - { protocol: TCP, port: 6379 }
        - { port: redis }
  egress:
    - to:
        - ipBlock: { cidr: "fd00::/8" }
      ports:
        - { protocol: UDP, port: 5978, endPort: 5999 }
        - { protocol: SCTP }
---
apiVersion: v1
kind: Namespace
metadata:
  name: prod
  labels: { project: myproject }
"""


def parse_spec(spec: str) -> Policy:
    (policy,) = parse_policies(f"{HEAD}spec: {spec}\n", "f").policies
    return policy


def labels(**stated: str) -> Selector:
    return Selector(Requirement(key, IN, [value]) for key, value in stated.items())


def test_all_that_a_policy_can_say() -> None:
    assert parse_policies(WHOLE, "f") == PolicySet(
        (
            Policy(
                "prod",
                "test-network-policy",
                Selector([Requirement("role", IN, ["db"]), Requirement("tier", NOT_IN, ["old", "test"])]),
                ("Ingress", "Egress"),
                (
                    PolicyRule(
                        (
                            PolicyPeer(
                                ip_block=IpBlock(ip_network("172.17.0.0/16"), (ip_network("172.17.1.0/24"),))
                            ),
                            PolicyPeer(namespace_selector=labels(project="myproject")),
                            PolicyPeer(labels(role="frontend")),
                            PolicyPeer(Selector([Requirement("role", EXISTS)]), Selector()),
                        ),
                        (PolicyPort("TCP", 6379), PolicyPort("TCP", "redis")),
                    ),
                ),
                (
                    PolicyRule(
                        (PolicyPeer(ip_block=IpBlock(ip_network("fd00::/8"))),),
                        (PolicyPort("UDP", 5978, 5999), PolicyPort("SCTP")),
                    ),
                ),
            ),
        ),
        (Namespace("prod", {"project": "myproject", "kubernetes.io/metadata.name": "prod"}),),
    )


def test_places_are_those_of_documents_and_rules() -> None:
    found = parse_policies(WHOLE, "f.yaml")
    assert found.policies[0].place == "f.yaml:2"
    assert found.policies[0].ingress[0].place == "f.yaml:14"
    assert found.namespaces[0].place == "f.yaml:35"


def test_a_list_and_what_kubectl_adds() -> None:
    text = """{
\t"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""},
\t"items": [
\t\t{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
\t\t "metadata": {"name": "deny", "namespace": "a", "uid": "1", "generation": 1, "labels": {"x": "y"},
\t\t              "creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "7"},
\t\t "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}, "status": {}},
\t\t{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"},
\t\t "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
\t]
}"""
    found = parse_policies(text, "f.json")
    assert found == PolicySet((Policy("a", "deny", Selector()),), (Namespace("a"),))


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n", "~"])
def test_empty_documents_declare_nothing(text: str) -> None:
    assert parse_policies(text, "f") == PolicySet()


def test_a_namespace_has_its_name_for_a_label() -> None:
    assert PolicySet().namespace_labels("a") == {"kubernetes.io/metadata.name": "a"}
    stated = PolicySet(namespaces=(Namespace("a", {"b": "c", "kubernetes.io/metadata.name": "other"}),))
    assert stated.namespace_labels("a") == {"b": "c", "kubernetes.io/metadata.name": "a"}


def test_a_policy_without_a_namespace_is_in_the_default_one() -> None:
    assert parse_spec("{podSelector: {}}").namespace == "default"


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ("{podSelector: {}}", ("Ingress",)),
        ("{podSelector: {}, ingress: []}", ("Ingress",)),
        ("{podSelector: {}, egress: []}", ("Ingress",)),
        ("{podSelector: {}, egress: [{}]}", ("Ingress", "Egress")),
        ("{podSelector: {}, policyTypes: [], egress: [{}]}", ("Ingress", "Egress")),
        ("{podSelector: {}, policyTypes: [Egress], ingress: [{}]}", ("Egress",)),
        ("{podSelector: {}, policyTypes: [Egress, Ingress]}", ("Ingress", "Egress")),
    ],
)
def test_types(spec: str, types: tuple[str, ...]) -> None:
    assert parse_spec(spec).types == types


@pytest.mark.parametrize("spec", ["{podSelector: {}}", "{podSelector: }", "{policyTypes: [Ingress]}"])
def test_an_absent_selector_of_targets_selects_all(spec: str) -> None:
    assert parse_spec(spec).pod_selector == Selector()


@pytest.mark.parametrize("ingress", ["", "[]", "null"])
def test_no_rules_allow_nothing(ingress: str) -> None:
    assert parse_spec(f"{{podSelector: {{}}, ingress: {ingress}}}").ingress == ()


def test_a_name_that_looks_like_a_number_stays_one_in_quotes() -> None:
    """In the file that the command writes, too."""
    text = f"{SPEC}  ingress:\n  - ports:\n    - port: '1e3'\n"
    (source,) = parse_sources(text, "f")
    for policies in (parse_policies(text, "f"), parse_policies(format_json_lines([source.document]), "f")):
        ((port,),) = [rule.ports or () for rule in policies.policies[0].ingress]
        assert port.port == "1e3"


@pytest.mark.parametrize("rule", ["{}", "{from: []}", "{from: , ports: []}", "{from: [], ports: null}"])
def test_empty_lists_of_a_rule_allow_everything(rule: str) -> None:
    assert parse_spec(f"{{podSelector: {{}}, ingress: [{rule}]}}").ingress == (PolicyRule(None, None),)


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("{podSelector: {}}", PolicyPeer(Selector())),
        ("{podSelector: {}, namespaceSelector: null}", PolicyPeer(Selector())),
        ("{namespaceSelector: {}}", PolicyPeer(namespace_selector=Selector())),
        ("{podSelector: {matchLabels: {}}, namespaceSelector: {}}", PolicyPeer(Selector(), Selector())),
        ("{ipBlock: {cidr: 10.0.0.7/8}}", PolicyPeer(ip_block=IpBlock(ip_network("10.0.0.0/8")))),
    ],
)
def test_absent_and_empty_selectors_of_a_peer_differ(peer: str, expected: PolicyPeer) -> None:
    assert parse_spec(f"{{podSelector: {{}}, ingress: [{{from: [{peer}]}}]}}").ingress[0].peers == (expected,)


def test_a_block_without_its_exceptions() -> None:
    block = IpBlock(ip_network("10.9.0.0/24"), (ip_network("10.9.0.12/31"),))
    contained = [f"10.9.0.{host}" for host in range(10, 16) if block.contains(ip_address(f"10.9.0.{host}"))]
    assert contained == ["10.9.0.10", "10.9.0.11", "10.9.0.14", "10.9.0.15"]
    assert not IpBlock(ip_network("0.0.0.0/0")).contains(ip_address("::1"))


SPEC = f"{HEAD}spec:\n  podSelector: {{}}\n"
EXPRESSIONS = f"{HEAD}spec:\n  podSelector:\n    matchExpressions:\n"
BLOCK = f"{SPEC}  egress:\n  - to:\n    - ipBlock:\n        cidr: 10.0.0.0/8\n"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("- a", 1, "a document must map keys"),
        ("a: [\n", 2, "expected"),
        ("metadata: {name: a}", 1, '"kind" is missing'),
        ("apiVersion: v1\nkind: Pod", 2, 'kind "Pod" is not supported'),
        ("apiVersion: v1\nkind: 3", 2, '"kind" must be a text'),
        ("kind: NetworkPolicy", 1, '"apiVersion" of a NetworkPolicy must be networking.k8s.io/v1'),
        ("apiVersion: extensions/v1beta1\nkind: NetworkPolicy", 1, "must be networking.k8s.io/v1"),
        ("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List}]", 3, "cannot contain another"),
        ("apiVersion: v1\nkind: List\nitem: []", 3, 'a List has no key "item"'),
        ("apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret", 5, 'kind "Secret"'),
        ("apiVersion: v1\nkind: Namespace", 1, 'needs "metadata"'),
        ("apiVersion: v1\nkind: Namespace\nmetadata:\n  labels: {}", 1, 'needs a "name"'),
        ("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: A", 4, "not a valid namespace"),
        ("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: 1", 4, '"name" must be a text'),
        ("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  label: {}", 5, 'no key "label"'),
        (f"{HEAD}spec: {{}}\nstate: {{}}", 5, 'has no key "state"'),
        (f"{HEAD}", 1, 'needs "spec"'),
        (f"{HEAD}spec: {{}}\n---\n{HEAD}spec: {{}}", 6, "policy default/p occurs twice, first in f:1"),
        (f"{HEAD}spec: {{}}\nspec: {{}}", 5, '"spec" occurs twice, first on line 4'),
        (f"{HEAD}spec:\n  podSelectors: {{}}", 5, '"spec" has no key "podSelectors"'),
        (f"{HEAD}spec:\n  podSelector: {{app: web}}", 5, '"podSelector" has no key "app"'),
        (f"{HEAD}spec:\n  podSelector: {{matchLabels: {{a: 1}}}}", 5, 'label "a" must be a text'),
        (f"{HEAD}spec:\n  podSelector: {{matchLabels: {{a: }}}}", 5, 'label "a" must be a text'),
        (f"{HEAD}spec:\n  podSelector: {{matchLabels: {{a: b c}}}}", 5, "not a valid value of a label"),
        (f"{HEAD}spec:\n  podSelector: {{matchLabels: {{-a: b}}}}", 5, "not a valid label"),
        (f"{HEAD}spec:\n  podSelector: {{matchLabels: [a]}}", 5, '"matchLabels" must map keys'),
        (
            f"{EXPRESSIONS}    - {{key: a, operator: Is}}",
            7,
            'operator "Is" must be one of In, NotIn, Exists, DoesNotExist',
        ),
        (
            f"{EXPRESSIONS}    - {{key: a, operator: In}}",
            7,
            'In needs "values"',
        ),
        (
            f"{EXPRESSIONS}    - {{key: a, operator: Exists, values: [b]}}",
            7,
            "Exists has no values",
        ),
        (
            f"{EXPRESSIONS}    - {{key: a}}",
            7,
            'needs "key" and "operator"',
        ),
        (f"{SPEC}  policyTypes: [ingress]", 6, '"ingress" must be Ingress or Egress'),
        (f"{SPEC}  policyTypes: Ingress", 6, '"policyTypes" must be a list'),
        (f"{SPEC}  ingress: {{}}", 6, '"ingress" must be a list'),
        (f"{SPEC}  ingress:\n  -", 7, "write {} to allow everything"),
        (f"{SPEC}  ingress:\n  - to: []", 7, 'an entry of "ingress" has no key "to"'),
        (f"{SPEC}  egress:\n  - from: []", 7, 'an entry of "egress" has no key "from"'),
        (f"{SPEC}  ingress:\n  - from: {{podSelector: {{}}}}", 7, '"from" must be a list'),
        (f"{SPEC}  ingress:\n  - from:\n    -", 8, 'leave "from" out'),
        (f"{SPEC}  ingress:\n  - from:\n    - {{}}", 8, "needs podSelector, namespaceSelector or ipBlock"),
        (f"{SPEC}  ingress:\n  - from:\n    - podSelector:", 8, "podSelector: {} selects all pods"),
        (
            f"{SPEC}  ingress:\n  - from:\n    - podSelector: {{}}\n      ipBlock: {{cidr: 10.0.0.0/8}}",
            9,
            "cannot be combined with a selector",
        ),
        (f"{SPEC}  ingress:\n  - from:\n    - ipBlock: {{}}", 8, '"ipBlock" needs "cidr"'),
        (f"{SPEC}  ingress:\n  - from:\n    - ipBlock: {{cidr: 10.0.0.1}}", 8, "no prefix length"),
        (f"{SPEC}  ingress:\n  - from:\n    - ipBlock: {{cidr: a/8}}", 8, "not a block of addresses"),
        (
            f'{SPEC}  ingress:\n  - from:\n    - ipBlock: {{cidr: "fe80::%1/64"}}',
            8,
            "not a block of addresses",
        ),
        (
            f"{BLOCK}        except: [10.0.0.0/8]",
            10,
            "10.0.0.0/8 must be a part of 10.0.0.0/8",
        ),
        (
            f"{BLOCK}        except: [0.0.0.0/0]",
            10,
            "0.0.0.0/0 must be a part of 10.0.0.0/8",
        ),
        (
            f"{BLOCK}        except: ['fd00::/64']",
            10,
            "fd00::/64 must be a part",
        ),
        (f"{SPEC}  ingress:\n  - ports:\n    -", 8, "write {} for all ports of TCP"),
        (f"{SPEC}  ingress:\n  - ports:\n    - 80", 8, "must map keys to values"),
        (f"{SPEC}  ingress:\n  - ports:\n    - protocol: tcp", 8, 'protocol "tcp" must be one of'),
        (f"{SPEC}  ingress:\n  - ports:\n    - port: 0", 8, "a number from 1 to 65535, or a name"),
        (f"{SPEC}  ingress:\n  - ports:\n    - port: 65536", 8, "a number from 1 to 65535"),
        (f"{SPEC}  ingress:\n  - ports:\n    - port: 53:30", 8, "a number from 1 to 65535"),
        *(
            (f"{SPEC}  ingress:\n  - ports:\n    - port: {port}", 8, f"; {port} is not the same number to")
            for port in ("0120", "080", "0x50", "1_000", "0o17", "0b11", "1e3", "+80")
        ),
        (f"{SPEC}  ingress:\n  - ports:\n    - {{port: 8, endPort: 0120}}", 8, "0120 is not the same number"),
        (f"{SPEC}  ingress:\n  - ports:\n    - port: [80]", 8, "a number from 1 to 65535"),
        (f"{SPEC}  ingress:\n  - ports:\n    - port: '80'", 8, "write a number without quotes"),
        (f"{SPEC}  ingress:\n  - ports:\n    - port: Web", 8, "not a valid name of a port"),
        (f"{SPEC}  ingress:\n  - ports:\n    - port: 80\n      endPort: 79", 9, '"endPort" 79 is below'),
        (f"{SPEC}  ingress:\n  - ports:\n    - port: web\n      endPort: 90", 9, "a number"),
        (f"{SPEC}  ingress:\n  - ports:\n    - endPort: 90", 8, '"endPort" needs a "port"'),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_policies(text, "f")
    (mistake,) = str(caught.value).splitlines()
    assert mistake.startswith(f"f:{line}: ")
    assert said in mistake


def test_all_mistakes_are_told_at_once() -> None:
    text = f"{SPEC}  ingress:\n  - form: []\n  - ports: [{{port: 0}}]\n---\nkind: Pod\n"
    with pytest.raises(DocumentError) as caught:
        parse_policies(text, "f")
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == ["f:7", "f:8", "f:10"]


def is_read_or_refused(text: str) -> bool:
    """Return whether a file is read, or refused with a place; anything else is a defect."""
    try:
        return isinstance(parse_policies(text, "f"), PolicySet)
    except DocumentError as error:
        return all(line.startswith("f:") for line in str(error).splitlines())


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    assert is_read_or_refused(text)


KEYS = ("apiVersion", "kind", "metadata", "spec", "podSelector", "ingress", "from", "ports", "port", "items")
VALUES = st.sampled_from(
    ["v1", "networking.k8s.io/v1", "NetworkPolicy", "List", "Namespace", "{}", "[]", "~", "!!int a"]
)


def _join_mapping(entries: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in entries.items()) + "}"


@given(
    st.recursive(
        VALUES,
        lambda inner: (
            st.dictionaries(st.sampled_from(KEYS), inner, max_size=4).map(_join_mapping)
            | st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        ),
    )
)
def test_any_structure_is_read_or_refused(text: str) -> None:
    assert is_read_or_refused(text)
