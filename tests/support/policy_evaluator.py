"""Who may connect to whom, by Kubernetes' rules and nothing of the product: what the kernel is compared with.

Policies are documents as YAML has them. https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """A pod: its place in the cluster, its address of each family, and the names of its ports."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    addresses: Mapping[int, str]
    port_names: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Cluster:
    """All pods, the labels of namespaces, and the policies."""

    pods: Sequence[Workload]
    namespaces: Mapping[str, Mapping[str, str]]
    policies: Sequence[Document]

    def allows(self, source: Workload, destination: Workload, version: int, protocol: str, port: int) -> bool:
        """Return whether one pod's connections to another's port are allowed."""
        if (source.namespace, source.name) == (destination.namespace, destination.name):
            return True
        return all(
            self._side_allows(own, peer, side, destination, version, protocol, port)
            for own, peer, side in ((source, destination, "egress"), (destination, source, "ingress"))
        )

    def _side_allows(
        self,
        own: Workload,
        peer: Workload,
        side: str,
        destination: Workload,
        version: int,
        protocol: str,
        port: int,
    ) -> bool:
        selecting = [policy for policy in self.policies if self._isolates(policy, own, side)]
        if not selecting:
            return True
        for policy in selecting:
            for rule in policy["spec"].get(side) or []:
                peers = rule.get("from" if side == "ingress" else "to")
                ports = rule.get("ports")
                if peers and not any(self._is_peer(policy, one, peer, version) for one in peers):
                    continue
                if ports and not any(_is_port(one, destination, protocol, port) for one in ports):
                    continue
                return True
        return False

    def _isolates(self, policy: Document, pod: Workload, side: str) -> bool:
        spec = policy["spec"]
        types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        return (
            policy["metadata"].get("namespace", "default") == pod.namespace
            and side.capitalize() in types
            and selects(spec.get("podSelector") or {}, pod.labels)
        )

    def _is_peer(self, policy: Document, peer: Document, pod: Workload, version: int) -> bool:
        block = peer.get("ipBlock")
        if block is not None:
            address = ip_address(pod.addresses[version])
            return address in ip_network(block["cidr"]) and not any(
                address in ip_network(one) for one in block.get("except") or []
            )
        namespaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
        if namespaces is None:
            if pod.namespace != policy["metadata"].get("namespace", "default"):
                return False
        else:
            name = {"kubernetes.io/metadata.name": pod.namespace}
            if not selects(namespaces, {**self.namespaces.get(pod.namespace, {}), **name}):
                return False
        return pods is None or selects(pods, pod.labels)


def selects(selector: Document, labels: Mapping[str, str]) -> bool:
    """Return whether a selector takes labels."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions") or []:
        value, values = labels.get(one["key"]), one.get("values") or []
        matches = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not matches[one["operator"]]:
            return False
    return True


def _is_port(allowed: Document, destination: Workload, protocol: str, port: int) -> bool:
    if allowed.get("protocol", "TCP") != protocol:
        return False
    wanted: int | str | None = allowed.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return destination.port_names.get((wanted, protocol)) == port
    return wanted <= port <= int(allowed.get("endPort", wanted))
