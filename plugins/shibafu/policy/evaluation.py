"""Who may connect to whom, from the policies alone.

It neither reads the kernel's rules nor shares code with what compiles them, so that it can say where they
differ.
https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from dataclasses import dataclass

from shibafu.policy.model import (
    EGRESS,
    INGRESS,
    Address,
    Pod,
    Policy,
    PolicyPeer,
    PolicyPort,
    PolicyRule,
    PolicySet,
)

# How much of an endpoint another one may connect to.
ALL, SOME, NONE = "all", "some", "none"


@dataclass(frozen=True)
class PolicyEndpoint:
    """One side of a connection.

    Args:
        address: what packets of the connection have; None for a pod of which no address is known.
        pod: the pod whose address that is; None: something else, for which there are no policies.
        is_host: whether it is the host itself, whose connections to and from its pods are always allowed.
    """

    address: Address | None
    pod: Pod | None = None
    is_host: bool = False


@dataclass(frozen=True)
class Service:
    """What a connection is for.

    Args:
        protocol: TCP, UDP or SCTP, or any other word for a protocol without ports, such as ICMP.
        port: of the destination; None for a protocol without ports.
    """

    protocol: str
    port: int | None = None


@dataclass(frozen=True)
class RuleOutcome:
    """What a rule says about a connection.

    Args:
        policy: that has the rule.
        direction: INGRESS or EGRESS.
        index: of the rule in the policy, from 0.
        has_peer: whether the other side is one of the rule's peers.
        has_port: whether the service is one of the rule's ports.
    """

    policy: Policy
    direction: str
    index: int
    has_peer: bool
    has_port: bool

    @property
    def allows(self) -> bool:
        """Whether the rule allows the connection."""
        return self.has_peer and self.has_port

    @property
    def rule(self) -> PolicyRule:
        """The rule."""
        return self.policy.rules(self.direction)[self.index]


@dataclass(frozen=True)
class PolicySide:
    """What the policies of one side say.

    Args:
        direction: EGRESS for the source, INGRESS for the destination.
        policies: those that select the pod in this direction; without any, everything is allowed.
        outcomes: of all their rules.
        exemption: why policies do not apply; empty if they do.
    """

    direction: str
    policies: tuple[Policy, ...] = ()
    outcomes: tuple[RuleOutcome, ...] = ()
    exemption: str = ""

    @property
    def allows(self) -> bool:
        """Whether this side allows the connection."""
        return not self.policies or self.deciding is not None

    @property
    def deciding(self) -> RuleOutcome | None:
        """The first rule that allows the connection; None if no rule does, or none has to."""
        return next((outcome for outcome in self.outcomes if outcome.allows), None)


@dataclass(frozen=True)
class Decision:
    """What both sides say; a connection needs both."""

    egress: PolicySide
    ingress: PolicySide

    @property
    def is_allowed(self) -> bool:
        """Whether the connection can be opened; replies to it always pass."""
        return self.egress.allows and self.ingress.allows


def evaluate(
    policies: PolicySet, source: PolicyEndpoint, destination: PolicyEndpoint, service: Service
) -> Decision:
    """Return whether a connection may be opened, and why."""
    exemption = _find_exemption(source, destination)
    if exemption:
        return Decision(PolicySide(EGRESS, exemption=exemption), PolicySide(INGRESS, exemption=exemption))
    return Decision(
        _evaluate_side(policies, EGRESS, source.pod, destination, destination, service),
        _evaluate_side(policies, INGRESS, destination.pod, source, destination, service),
    )


def evaluate_scope(policies: PolicySet, source: PolicyEndpoint, destination: PolicyEndpoint) -> str:
    """Return how much one endpoint may connect to another: to all ports, to some of them, or to none.

    Returns:
        ALL, SOME or NONE. SOME says only that a rule is for the two: it may be for ports that nobody serves.
    """
    if _find_exemption(source, destination):
        return ALL
    scopes = (
        _evaluate_side_scope(policies, EGRESS, source.pod, destination),
        _evaluate_side_scope(policies, INGRESS, destination.pod, source),
    )
    return next((scope for scope in (NONE, SOME) if scope in scopes), ALL)


def _evaluate_side_scope(policies: PolicySet, direction: str, pod: Pod | None, other: PolicyEndpoint) -> str:
    selecting = find_selecting(policies, pod, direction) if pod is not None else ()
    if not selecting:
        return ALL
    rules = [
        rule
        for policy in selecting
        for rule in policy.rules(direction)
        if rule.peers is None or any(_is_peer(policies, policy, peer, other) for peer in rule.peers)
    ]
    if any(rule.ports is None for rule in rules):
        return ALL
    return SOME if rules else NONE


def find_selecting(policies: PolicySet, pod: Pod, direction: str) -> tuple[Policy, ...]:
    """Return the policies that isolate a pod in a direction, by namespace and name."""
    return tuple(
        policy
        for policy in sorted(policies.policies, key=lambda one: one.key)
        if direction in policy.types and policy.selects(pod)
    )


def _find_exemption(source: PolicyEndpoint, destination: PolicyEndpoint) -> str:
    if source.is_host or destination.is_host:
        return "the host is always allowed"
    if source.pod is not None and destination.pod is not None and source.pod.key == destination.pod.key:
        return "a pod always reaches itself"
    return ""


def _evaluate_side(
    policies: PolicySet,
    direction: str,
    pod: Pod | None,
    other: PolicyEndpoint,
    destination: PolicyEndpoint,
    service: Service,
) -> PolicySide:
    """Return what the policies of a pod say about a connection with another endpoint."""
    if pod is None:
        return PolicySide(direction, exemption="not a pod of this host")
    selecting = find_selecting(policies, pod, direction)
    outcomes = tuple(
        RuleOutcome(
            policy,
            direction,
            index,
            rule.peers is None or any(_is_peer(policies, policy, peer, other) for peer in rule.peers),
            rule.ports is None or any(_is_port(port, service, destination.pod) for port in rule.ports),
        )
        for policy in selecting
        for index, rule in enumerate(policy.rules(direction))
    )
    return PolicySide(direction, selecting, outcomes)


def _is_peer(policies: PolicySet, policy: Policy, peer: PolicyPeer, other: PolicyEndpoint) -> bool:
    if peer.ip_block is not None:
        return other.address is not None and peer.ip_block.contains(other.address)
    if other.pod is None:
        return False
    if peer.namespace_selector is None:
        is_namespace = other.pod.namespace == policy.namespace
    else:
        is_namespace = peer.namespace_selector.matches(policies.namespace_labels(other.pod.namespace))
    return is_namespace and (peer.pod_selector is None or peer.pod_selector.matches(other.pod.labels))


def _is_port(port: PolicyPort, service: Service, pod: Pod | None) -> bool:
    """Return whether a service is one of a rule's ports.

    Args:
        port: of the rule.
        service: what the connection is for.
        pod: the destination, which gives names to its ports; None if it is not a pod.
    """
    if port.protocol != service.protocol or service.port is None:
        return False
    if port.port is None:
        return True
    if isinstance(port.port, int):
        return port.port <= service.port <= (port.end_port or port.port)
    return pod is not None and any(
        (named.name, named.protocol, named.port) == (port.port, service.protocol, service.port)
        for named in pod.named_ports
    )
