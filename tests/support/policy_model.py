"""The product's model of what tests of policies state as plain documents and containers."""

from ipaddress import ip_address

import yaml

from shibafu.policy.evaluation import PolicyEndpoint, Service, evaluate
from shibafu.policy.model import NamedPort, Pod, PolicySet
from shibafu.policy.policy_documents import parse_policies
from support.policy_oracle import Container, Document


def make_policies(documents: list[Document]) -> PolicySet:
    """Return what the product reads of documents."""
    return parse_policies(yaml.safe_dump_all(documents), "case.yaml")


def make_pod(container: Container) -> Pod:
    """Return a container as the product sees it."""
    return Pod(
        container.namespace,
        container.name,
        container.labels,
        tuple(ip_address(address) for address in container.addresses.values()),
        tuple(NamedPort(name, *stated) for name, stated in container.named_ports.items()),
    )


def is_allowed(
    policies: PolicySet, source: Container, destination: Container, family: int, protocol: str, port: int
) -> bool:
    """Return what the evaluator says about a connection."""
    source_end, destination_end = (
        PolicyEndpoint(ip_address(one.addresses[family]), make_pod(one)) for one in (source, destination)
    )
    return evaluate(policies, source_end, destination_end, Service(protocol, port)).is_allowed
