"""The host's containers as network policies see them, by records of shibafu-bridge and shibafu-firewall."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from os import path as os_path

from shibafu.cni.errors import CniError
from shibafu.networks.attachments import find_target
from shibafu.networks.errors import CommandError
from shibafu.networks.kernel import Kernel
from shibafu.policy.enforcement import list_attachments
from shibafu.policy.evaluation import SOME, PolicyEndpoint, evaluate_scope
from shibafu.policy.model import Address, NamedPort, Pod, PolicySet
from shibafu.policy.pod_identity import find_pod_identity
from shibafu.resource.record import CLAIMED, LEAVING, Record

# What stands for the host in place of a container.
HOST = "host"


@dataclass(frozen=True)
class PolicyTarget:
    """What a command line names: a container, an address, or the host.

    Args:
        name: how it is called.
        endpoints: by family, 4 and 6, one side of a connection.
    """

    name: str
    endpoints: dict[int, PolicyEndpoint]


def list_pods() -> list[Pod]:
    """Return the containers that are attached, each with the addresses of all its interfaces.

    A pod's name is the container's ID.
    """
    pods: dict[str, Pod] = {}
    for record in list_records():
        try:
            pod = make_pod(record)
        except CniError:
            continue  # it was attached before there were policies, which it can be in none of
        first = pods.get(record.container_id)
        if first is not None:
            pod = replace(first, addresses=(*first.addresses, *pod.addresses))
        pods[record.container_id] = pod
    return sorted(pods.values(), key=lambda pod: pod.key)


def list_records() -> list[Record]:
    """Return the records of attachments that have addresses and are not being removed."""
    records = [place.read() for place in list_attachments()]
    return [record for record in records if record.owner and record.phase not in (CLAIMED, LEAVING)]


def make_pod(record: Record) -> Pod:
    """Return the container of a record, with the addresses of that interface."""
    identity = find_pod_identity(record.config or {}, record.args)
    addresses: list[Address] = [ip_address(str(cidr.address)) for cidr in record.addresses]
    ports = tuple(NamedPort(*port) for port in identity.ports)
    return Pod(identity.namespace, record.container_id, identity.labels, tuple(addresses), ports)


def calc_matrix(policies: PolicySet, pods: Iterable[Pod]) -> dict[tuple[str, str], str]:
    """Return how much each container may connect to each other one: ALL, SOME or NONE.

    Where it depends on the family, that is SOME.

    Returns:
        By source and destination; those without addresses in common are left out.
    """
    targets = [_make_target(pod.name, pod.addresses, pod) for pod in pods]
    matrix = {}
    for source in targets:
        for destination in targets:
            scopes = {
                evaluate_scope(policies, end, destination.endpoints[family])
                for family, end in source.endpoints.items()
                if family in destination.endpoints
            }
            if scopes and source is not destination:
                matrix[source.name, destination.name] = scopes.pop() if len(scopes) == 1 else SOME
    return matrix


def find_policy_target(text: str, pods: Iterable[Pod], kernel: Kernel, cache_dir: str) -> PolicyTarget:
    """Return what a command line names.

    Args:
        text: a container's ID or the beginning of it, a namespace's name or path, an address, or `host`.
        pods: the host's containers.
        kernel: the host's addresses.
        cache_dir: the results that runtimes keep.

    Raises:
        CommandError: there is nothing of that name, or it has no address.
    """
    own = {one.ip for found in kernel.addresses().values() for one in found}
    if text == HOST and not os_path.exists(f"/run/netns/{HOST}"):
        return _make_target(HOST, sorted(own, key=int), is_host=True)
    try:
        address: Address = ip_address(text)
    except ValueError:
        container_id = find_target(text, cache_dir).container_id
        pod = next((pod for pod in pods if pod.name == container_id), None)
        if pod is None or not pod.addresses:
            raise CommandError(
                f"{text} has no address that policies are for", "name an address instead"
            ) from None
        return _make_target(pod.name, pod.addresses, pod)
    pod = next((pod for pod in pods if address in pod.addresses), None)
    return _make_target(text, [address], pod, is_host=address in own or address.is_loopback)


def _make_target(
    name: str, addresses: Iterable[Address], pod: Pod | None = None, is_host: bool = False
) -> PolicyTarget:
    """Return a target with the first address of each family."""
    endpoints: dict[int, PolicyEndpoint] = {}
    for address in addresses:
        endpoints.setdefault(address.version, PolicyEndpoint(address, pod, is_host))
    return PolicyTarget(name, endpoints)
