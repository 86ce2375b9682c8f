"""Documents of Kubernetes that declare policies: NetworkPolicy, Namespace, and a List of both.

Every key that the API has is either read or listed below as one that has no effect here. Any other is a
mistake: a policy that allows something else than was meant is worse than none.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from yaml.nodes import MappingNode, Node, ScalarNode

from shibafu.documents.json_lines import calc_plain, compose_json_lines
from shibafu.documents.yaml_nodes import compose_documents, is_null
from shibafu.policy.label_syntax import require_namespace_name, require_policy_name
from shibafu.policy.model import DEFAULT_NAMESPACE, DIRECTIONS, Namespace, Policy, PolicySet
from shibafu.policy.policy_spec import SpecReader
from shibafu.policy.selector import Selector

_POLICY = ("networking.k8s.io/v1", "NetworkPolicy")
_NAMESPACE = ("v1", "Namespace")
_LIST = ("v1", "List")
_KINDS = dict(kind[::-1] for kind in (_POLICY, _NAMESPACE, _LIST))
# What `kubectl get -o yaml` adds, and annotations, have no effect here.
_METADATA = (
    "name",
    "namespace",
    "labels",
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)


@dataclass(frozen=True)
class PolicySource:
    """A policy or a namespace, and its document.

    Args:
        declared: what it says.
        document: all of it, as JSON has it.
    """

    declared: Policy | Namespace
    document: object

    @property
    def key(self) -> tuple[str, ...]:
        """What no other policy and no other namespace has."""
        return self.declared.key

    @property
    def kind(self) -> str:
        """What it is: `policy` or `namespace`."""
        return "policy" if isinstance(self.declared, Policy) else "namespace"

    @property
    def title(self) -> str:
        """Which one it is, in words."""
        return f"{self.kind} {'/'.join(self.key)}"


def parse_policies(text: str, name: str) -> PolicySet:
    """Return what a file declares; see `parse_sources`."""
    return join_sources(parse_sources(text, name))


def join_sources(sources: Iterable[PolicySource], stated: Iterable[str] = ()) -> PolicySet:
    """Return what documents declare together.

    Args:
        sources: the documents.
        stated: see `PolicySet`.
    """
    declared = [source.declared for source in sources]
    return PolicySet(
        tuple(one for one in declared if isinstance(one, Policy)),
        tuple(one for one in declared if isinstance(one, Namespace)),
        tuple(sorted(set(stated))),
    )


def parse_sources(text: str, name: str) -> list[PolicySource]:
    """Return what a file declares, in its order.

    Args:
        text: its content, YAML or JSON; empty documents are ignored.
        name: what mistakes call the file. JSON is only expected to have tabs in a file named `*.json`.

    Raises:
        DocumentError: every mistake in it, each on a line with its place.
    """
    if name.endswith(".json"):
        text = text.replace("\t", " ")  # YAML, of which JSON is nearly a part, has no tabs between values
    return read_documents(compose_json_lines(text) or compose_documents(text, name), name)


def read_documents(roots: Iterable[Node], name: str) -> list[PolicySource]:
    """Return what documents declare; see `parse_sources`."""
    reader = _DocumentReader(name)
    for root in roots:
        reader.read(root)
    reader.raise_mistakes()
    return list(reader.sources.values())


class _DocumentReader(SpecReader):
    """Reads documents of all kinds, and collects what they declare."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.sources: dict[tuple[str, ...], PolicySource] = {}

    def read(self, root: Node, is_item: bool = False) -> None:
        """Read a document, or an item of a list."""
        kind = self._read_kind(root)
        if kind == _LIST and is_item:
            self.refuse(root, "a List cannot contain another one")
        elif kind == _LIST:
            entries = self.mapping(root, ("apiVersion", "kind", "metadata", "items"), "a List")
            for item in self.list_of(entries.get("items"), '"items"'):
                self.read(item, is_item=True)
        elif kind is not None:
            entries = self.mapping(root, ("apiVersion", "kind", "metadata", "spec", "status"), f"a {kind[1]}")
            metadata = entries.get("metadata")
            if metadata is None or is_null(metadata):
                self.refuse(root, f'a {kind[1]} needs "metadata" with a name')
            elif kind == _NAMESPACE:
                self._read_namespace(root, self.mapping(metadata, _METADATA, '"metadata"'))
            else:
                self._read_policy(root, self.mapping(metadata, _METADATA, '"metadata"'), entries.get("spec"))

    def _read_kind(self, root: Node) -> tuple[str, str] | None:
        """Return the version and the kind of a document; None where it is not one of ours."""
        if not isinstance(root, MappingNode):
            self.items(root, "a document")
            return None
        stated = {key.value: value for key, value in root.value if isinstance(key, ScalarNode)}
        if is_null(stated.get("kind")):
            self.refuse(root, f'"kind" is missing: it is {", ".join(_KINDS)}')
            return None
        kind = self.text(stated["kind"], '"kind"', _require_kind)
        if kind is None:
            return None
        version = _KINDS[kind]
        if getattr(stated.get("apiVersion"), "value", None) != version:
            self.refuse(stated.get("apiVersion", root), f'"apiVersion" of a {kind} must be {version}')
            return None
        return (version, kind)

    def _read_policy(self, root: Node, metadata: dict[str, Node], spec: Node | None) -> None:
        name = self._read_name(root, metadata, "a NetworkPolicy", require_policy_name)
        stated = metadata.get("namespace")
        namespace = (
            self.text(stated, '"namespace"', require_namespace_name)
            if stated is not None and not is_null(stated)
            else DEFAULT_NAMESPACE
        )
        if spec is None or is_null(spec):
            self.refuse(root, 'a NetworkPolicy needs "spec"')
            return
        keys = ("podSelector", "policyTypes", "ingress", "egress")
        entries = self.mapping(spec, keys, '"spec"')
        pods, types, *directions = (entries.get(key) for key in keys)
        ingress, egress = (
            tuple(self.read_rules(node, direction))
            for node, direction in zip(directions, DIRECTIONS, strict=True)
        )
        policy = Policy(
            namespace or "",
            name or "",
            self.read_selector(pods, '"podSelector"')
            if pods is not None and not is_null(pods)
            else Selector(),
            self.read_types(types, bool(egress)),
            ingress,
            egress,
            self.place(root),
        )
        if namespace is not None and name is not None:
            self._add(root, policy)

    def _read_namespace(self, root: Node, metadata: dict[str, Node]) -> None:
        name = self._read_name(root, metadata, "a Namespace", require_namespace_name)
        labels = dict(self.read_labels(metadata.get("labels"), '"labels"'))
        if name is not None:
            self._add(root, Namespace(name, labels, self.place(root)))

    def _read_name(
        self, root: Node, metadata: dict[str, Node], what: str, require: Callable[[str], str]
    ) -> str | None:
        node = metadata.get("name")
        if node is None or is_null(node):
            self.refuse(root, f'{what} needs a "name" in "metadata"')
            return None
        return self.text(node, '"name"', require)

    def _add(self, root: Node, declared: Policy | Namespace) -> None:
        source = PolicySource(declared, calc_plain(root))
        first = self.sources.setdefault(source.key, source)
        if first is not source:
            self.refuse(root, f"{source.title} occurs twice, first in {first.declared.place}")


def _require_kind(text: str) -> str:
    if text not in _KINDS:
        raise ValueError(f'kind "{text[:80]}" is not supported; those that are: {", ".join(_KINDS)}')
    return text
