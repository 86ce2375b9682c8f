"""Many policies and many containers, as on a busy host."""

from random import Random
from typing import Any

_APPS = [f"app{number}" for number in range(100)]
_NAMESPACES = [f"team{number}" for number in range(20)]


def make_crowd_documents(count: int) -> list[dict[str, Any]]:
    """Return policies of 20 namespaces; a tenth are for all pods of theirs."""
    random = Random(count)  # noqa: S311 - the same ones each time

    def select() -> dict[str, Any]:
        return {"matchLabels": {"app": random.choice(_APPS)}}

    peers = [{"podSelector": select()} | random.choice([{}, {"namespaceSelector": {}}]) for _ in range(200)]

    def make_rule() -> dict[str, Any]:
        ports = [{"port": random.randrange(1, 9999)} for _ in range(random.randrange(3))]
        return {"from": [random.choice(peers)]} | ({"ports": ports} if ports else {})

    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"policy{number}", "namespace": random.choice(_NAMESPACES)},
            "spec": {
                "podSelector": {} if number % 10 == 0 else select(),
                "policyTypes": ["Ingress"],
                "ingress": [make_rule(), make_rule()],
            },
        }
        for number in range(count)
    ]


def make_crowd_labels(count: int) -> list[tuple[str, str]]:
    """Return the namespace and the label `app` of containers that the policies are for."""
    random = Random(count)  # noqa: S311 - the same ones each time
    return [(random.choice(_NAMESPACES), random.choice(_APPS)) for _ in range(count)]
