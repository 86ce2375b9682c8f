"""What decides about a connection, in words."""

from collections.abc import Iterator
from typing import Any

from shibafu.policy.evaluation import Decision, PolicySide, RuleOutcome
from shibafu.policy.model import EGRESS, IpBlock, PolicyPeer, PolicyPort, PolicyRule

_WHO = {EGRESS: "the source", "Ingress": "the destination"}


def explain_decision(decision: Decision) -> Iterator[str]:
    """Yield a line for each side, and one for each rule of a side that denies the connection."""
    for side in (decision.egress, decision.ingress):
        yield f"{side.direction.lower()} of {_WHO[side.direction]}: {_explain_side(side)}"
        if not side.allows:
            yield from (f"  {_explain_outcome(outcome)}" for outcome in side.outcomes)


def describe_side(side: PolicySide) -> dict[str, Any]:
    """Return what a side says for programs."""
    deciding = side.deciding
    return {
        "allowed": side.allows,
        "isolated": bool(side.policies),
        "policies": ["/".join(policy.key) for policy in side.policies],
        "rule": _describe_rule(deciding) if deciding is not None else None,
        "exemption": side.exemption,
    }


def describe_peer(peer: PolicyPeer) -> str:
    """Return who an entry of `from` or `to` stands for, in words."""
    if peer.ip_block is not None:
        return _describe_block(peer.ip_block)
    pods = (
        "all pods"
        if peer.pod_selector is None or not peer.pod_selector.requirements
        else (f"pods with {peer.pod_selector}")
    )
    if peer.namespace_selector is None:
        return f"{pods} of the namespace"
    if not peer.namespace_selector.requirements:
        return f"{pods} of all namespaces"
    return f"{pods} of namespaces with {peer.namespace_selector}"


def describe_port(port: PolicyPort) -> str:
    """Return what an entry of `ports` stands for, as `tcp/80`."""
    protocol = port.protocol.lower()
    if port.port is None:
        return f"all of {protocol}"
    return f"{protocol}/{port.port}" + (f"-{port.end_port}" if port.end_port is not None else "")


def describe_rule(rule: PolicyRule) -> str:
    """Return what a rule allows, in words."""
    peers = "any address" if rule.peers is None else "; ".join(map(describe_peer, rule.peers))
    ports = "any port" if rule.ports is None else ", ".join(map(describe_port, rule.ports))
    return f"{peers}: {ports}"


def _describe_block(block: IpBlock) -> str:
    return f"addresses {block}"


def _describe_rule(outcome: RuleOutcome) -> dict[str, Any]:
    return {
        "policy": "/".join(outcome.policy.key),
        "number": outcome.index + 1,
        "place": outcome.rule.place,
        "allows": describe_rule(outcome.rule),
    }


def _explain_side(side: PolicySide) -> str:
    if side.exemption:
        return f"allowed, {side.exemption}"
    if not side.policies:
        return "allowed, no policy selects it"
    deciding = side.deciding
    if deciding is not None:
        return f"allowed by {_name(deciding)} ({deciding.rule.place})"
    names = " and ".join("/".join(policy.key) for policy in side.policies)
    return f"denied, {names} isolate{'s' * (len(side.policies) == 1)} it and no rule allows this"


def _explain_outcome(outcome: RuleOutcome) -> str:
    reasons = [
        what
        for what, holds in (("for other peers", outcome.has_peer), ("for other ports", outcome.has_port))
        if not holds
    ]
    return f"{_name(outcome)} is {' and '.join(reasons)}: {describe_rule(outcome.rule)}"


def _name(outcome: RuleOutcome) -> str:
    return f"rule {outcome.index + 1} of {'/'.join(outcome.policy.key)}"
