"""The product's model of what tests of policies state as plain documents and workloads."""

from collections.abc import Iterable
from ipaddress import ip_address

import yaml

from shibafu.policy.evaluation import PolicyEndpoint, Service, evaluate
from shibafu.policy.model import Address, NamedPort, Pod, PolicySet
from shibafu.policy.policy_documents import parse_policies
from support.policy_evaluator import Document, Workload


def read_documents(documents: Iterable[Document]) -> PolicySet:
    """Return what the product reads of documents."""
    return parse_policies(yaml.safe_dump_all(documents), "case.yaml")


def make_pod(workload: Workload) -> Pod:
    """Return a workload as the product sees it."""
    addresses: list[Address] = [ip_address(address) for address in workload.addresses.values()]
    ports = [NamedPort(name, protocol, port) for (name, protocol), port in workload.port_names.items()]
    return Pod(workload.namespace, workload.name, workload.labels, tuple(addresses), tuple(ports))


def is_allowed(
    policies: PolicySet, source: Workload, destination: Workload, version: int, protocol: str, port: int
) -> bool:
    """Return what the evaluator says about a connection."""
    one, other = (
        PolicyEndpoint(ip_address(end.addresses[version]), make_pod(end)) for end in (source, destination)
    )
    return evaluate(policies, one, other, Service(protocol, port)).is_allowed
