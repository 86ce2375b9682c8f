"""Who may connect to whom by the text of Kubernetes' API, on plain documents: the judge of policies' tests.

It imports nothing of the product, and is written differently: for each policy the sets of peers are computed
first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True)
class Container:
    """A container of a test's cluster.

    Args:
        namespace: where it is.
        name: unique within the namespace.
        addresses: by family, 4 and 6.
        labels: of the container.
        named_ports: the number and the protocol of each name.
    """

    namespace: str
    name: str
    addresses: Mapping[int, str]
    labels: Mapping[str, str]
    named_ports: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class Oracle:
    """Judges connections between the containers of a cluster.

    Args:
        documents: policies and namespaces as YAML's loader returns them.
        containers: the cluster.
    """

    def __init__(self, documents: list[Document], containers: list[Container]) -> None:
        self._containers = containers
        self._policies = [one for one in documents if one["kind"] == "NetworkPolicy"]
        self._namespaces = {one.namespace: {} for one in containers} | {
            one["metadata"]["name"]: one["metadata"].get("labels") or {}
            for one in documents
            if one["kind"] == "Namespace"
        }
        for name in self._namespaces:
            self._namespaces[name] = {**self._namespaces[name], "kubernetes.io/metadata.name": name}

    def allows(
        self, source: Container, destination: Container, family: int, protocol: str, port: int
    ) -> bool:
        """Return whether one may connect to another; `protocol` is in capitals."""
        if source.key == destination.key:
            return True
        wanted = (family, protocol, port)
        return self._allows_side("Egress", source, destination, destination, *wanted) and (
            self._allows_side("Ingress", destination, source, destination, *wanted)
        )

    def _allows_side(
        self,
        direction: str,
        target: Container,
        other: Container,
        destination: Container,
        family: int,
        protocol: str,
        port: int,
    ) -> bool:
        in_force = [one for one in self._policies if self._isolates(one, direction, target)]
        if not in_force:
            return True
        for policy in in_force:
            for rule in policy["spec"].get(direction.lower()) or []:
                peers = rule.get("from" if direction == "Ingress" else "to") or [None]
                ports = rule.get("ports") or [None]
                reached = any(other.key in self._find_peers(policy, peer, family) for peer in peers)
                if reached and any(_is_open(one, destination, protocol, port) for one in ports):
                    return True
        return False

    def _isolates(self, policy: Document, direction: str, target: Container) -> bool:
        spec = policy["spec"]
        types = spec.get("policyTypes") or ["Ingress"] + (["Egress"] if spec.get("egress") else [])
        namespace = policy["metadata"].get("namespace") or "default"
        selected = namespace == target.namespace and _selects(spec.get("podSelector") or {}, target.labels)
        return direction in types and selected

    def _find_peers(self, policy: Document, peer: Document | None, family: int) -> set[str]:
        """Return the containers that an entry of `from` or `to` stands for."""
        everyone = {one.key: one for one in self._containers}
        if peer is None:
            return set(everyone)
        if peer.get("ipBlock") is not None:
            block = peer["ipBlock"]
            inside = {
                key
                for key, one in everyone.items()
                if family in one.addresses and _is_in(one.addresses[family], block["cidr"])
            }
            for part in block.get("except") or []:
                inside -= {key for key in inside if _is_in(everyone[key].addresses[family], part)}
            return inside
        found = set(everyone)
        if peer.get("podSelector") is not None:
            found &= {key for key, one in everyone.items() if _selects(peer["podSelector"], one.labels)}
        if peer.get("namespaceSelector") is not None:
            names = {
                name
                for name, labels in self._namespaces.items()
                if _selects(peer["namespaceSelector"], labels)
            }
        else:
            names = {policy["metadata"].get("namespace") or "default"}
        return {key for key in found if everyone[key].namespace in names}


def _is_in(address: str, cidr: str) -> bool:
    one, network = ip_address(address), ip_network(cidr, strict=False)
    return one.version == network.version and int(one) >> (one.max_prefixlen - network.prefixlen) == (
        int(network.network_address) >> (one.max_prefixlen - network.prefixlen)
    )


def _is_open(entry: Document | None, destination: Container, protocol: str, port: int) -> bool:
    if entry is None:
        return True
    if (entry.get("protocol") or "TCP") != protocol:
        return False
    stated = entry.get("port")
    if stated is None:
        return True
    if isinstance(stated, str):
        return destination.named_ports.get(stated) == (protocol, port)
    return port in range(stated, (entry.get("endPort") or stated) + 1)


def _selects(selector: Document, labels: Mapping[str, str]) -> bool:
    for key, value in (selector.get("matchLabels") or {}).items():
        if (key, value) not in labels.items():
            return False
    for one in selector.get("matchExpressions") or []:
        held = {
            "In": lambda key, values: key in labels and labels[key] in values,
            "NotIn": lambda key, values: key not in labels or labels[key] not in values,
            "Exists": lambda key, values: key in labels,
            "DoesNotExist": lambda key, values: key not in labels,
        }[one["operator"]](one["key"], one.get("values") or [])
        if not held:
            return False
    return True
