"""Policies, namespaces and pods: what documents and attachments say, without where it was found.

An absent selector or list of peers is None, and differs from an empty one where Kubernetes tells them apart.
https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from shibafu.policy.selector import Selector

INGRESS = "Ingress"
EGRESS = "Egress"
DIRECTIONS = (INGRESS, EGRESS)
TCP = "TCP"
UDP = "UDP"
SCTP = "SCTP"
PROTOCOLS = (TCP, UDP, SCTP)
# The label that each namespace has, and its value is the namespace's name.
NAME_LABEL = "kubernetes.io/metadata.name"
# The namespace of policies and pods that name none.
DEFAULT_NAMESPACE = "default"

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class IpBlock:
    """Addresses of one family.

    Args:
        cidr: the addresses.
        excepted: parts of it that are left out.
    """

    cidr: IPv4Network | IPv6Network
    excepted: tuple[IPv4Network | IPv6Network, ...] = ()

    def contains(self, address: Address) -> bool:
        """Return whether an address is among them; one of the other family never is."""
        return address in self.cidr and not any(address in network for network in self.excepted)

    def __str__(self) -> str:
        excepted = ", ".join(map(str, self.excepted))
        return f"{self.cidr} except {excepted}" if excepted else str(self.cidr)


@dataclass(frozen=True)
class PolicyPeer:
    """The other side of a connection: either pods, by one or both selectors, or addresses.

    Args:
        pod_selector: labels of pods; None: all pods of the namespaces.
        namespace_selector: labels of namespaces; None: the policy's namespace only.
        ip_block: addresses, of pods and of anything else.
    """

    pod_selector: Selector | None = None
    namespace_selector: Selector | None = None
    ip_block: IpBlock | None = None


@dataclass(frozen=True)
class PolicyPort:
    """Ports of the destination.

    Args:
        protocol: one of `PROTOCOLS`.
        port: a number, or the name that the destination gives to one; None: all ports of the protocol.
        end_port: the last port, if `port` is the first of a range.
    """

    protocol: str = TCP
    port: int | str | None = None
    end_port: int | None = None


@dataclass(frozen=True)
class PolicyRule:
    """What is allowed: connections with one of the peers to one of the ports.

    Args:
        peers: None: any address. An empty list of a document means this as well.
        ports: None: any port of any protocol. An empty list of a document means this as well.
        place: the file and the line.
    """

    peers: tuple[PolicyPeer, ...] | None = None
    ports: tuple[PolicyPort, ...] | None = None
    place: str = field(default="", compare=False)


@dataclass(frozen=True)
class Policy:
    """What is allowed for the pods that it selects, in the directions that it isolates.

    Args:
        namespace: where the pods are.
        name: of the policy; different within its namespace.
        pod_selector: which of the namespace's pods it is for.
        types: the directions, INGRESS, EGRESS or both, in this order.
        ingress: who may connect to the pods; without effect unless `types` has INGRESS.
        egress: what they may connect to; without effect unless `types` has EGRESS.
        place: the file and the line.
    """

    namespace: str
    name: str
    pod_selector: Selector
    types: tuple[str, ...] = (INGRESS,)
    ingress: tuple[PolicyRule, ...] = ()
    egress: tuple[PolicyRule, ...] = ()
    place: str = field(default="", compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """What no other policy has."""
        return (self.namespace, self.name)

    def selects(self, pod: "Pod") -> bool:
        """Return whether it is for a pod."""
        return pod.namespace == self.namespace and self.pod_selector.matches(pod.labels)

    def rules(self, direction: str) -> tuple[PolicyRule, ...]:
        """Return what it allows in a direction, INGRESS or EGRESS, that it isolates."""
        return self.ingress if direction == INGRESS else self.egress


@dataclass(frozen=True)
class Namespace:
    """A group of pods, which policies find by its labels.

    Args:
        name: of the namespace.
        labels: `NAME_LABEL` is always among them.
        place: the file and the line.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    place: str = field(default="", compare=False)

    @property
    def key(self) -> tuple[str]:
        """What no other namespace has."""
        return (self.name,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", {**self.labels, NAME_LABEL: self.name})


@dataclass(frozen=True)
class NamedPort:
    """A name that a pod gives to one of its ports, for one protocol.

    Args:
        name: of the port; a pod may have it once for each protocol.
        protocol: one of `PROTOCOLS`.
        port: the number.
    """

    name: str
    protocol: str
    port: int


@dataclass(frozen=True)
class Pod:
    """A container, or several that share a network namespace, as policies see it.

    Args:
        namespace: the name of its namespace.
        name: different within its namespace.
        labels: what policies find it by.
        addresses: of all of its interfaces.
        named_ports: its ports with names.
    """

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[Address, ...] = ()
    named_ports: tuple[NamedPort, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What no other pod has."""
        return (self.namespace, self.name)


@dataclass(frozen=True)
class PolicySet:
    """All that applies together.

    Args:
        policies: no two with the same key.
        namespaces: those with labels of their own; others only have `NAME_LABEL`.
        stated: the digests of what networks' configurations state, which is among them.
    """

    policies: tuple[Policy, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    stated: tuple[str, ...] = ()

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """Return the labels of a namespace, whether it is among `namespaces` or not."""
        for namespace in self.namespaces:
            if namespace.name == name:
                return namespace.labels
        return Namespace(name).labels
