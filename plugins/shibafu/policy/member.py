"""Containers as policies see them."""

from shibafu.cni.args import split_args
from shibafu.cni.errors import INVALID_CONFIG, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shibafu.lean.ip import Address

# CNI_ARGS that name a pod, and the labels by which policies find it.
_POD_LABELS = {
    "K8S_POD_NAME": "io.kubernetes.pod.name",
    "K8S_POD_NAMESPACE": "io.kubernetes.pod.namespace",
}
_DEFAULT_NAMESPACE = "default"
_PROTOCOLS = ("TCP", "UDP", "SCTP")


class MemberPort:
    """A name that a container gives to one of its ports.

    Args:
        name: the name.
        protocol: TCP, UDP or SCTP.
        port: the number.
    """

    __slots__ = ("name", "port", "protocol")

    def __init__(self, name: str, protocol: str, port: int) -> None:
        self.name = name
        self.protocol = protocol
        self.port = port


class Member:
    """One interface of a container, as policies see it.

    Args:
        namespace: the name of its namespace.
        labels: what policies find it by.
        addresses: of the interface.
        named_ports: ports with names.
    """

    __slots__ = ("addresses", "labels", "named_ports", "namespace")

    def __init__(
        self,
        namespace: str,
        labels: "Mapping[str, str]",
        addresses: "Sequence[Address]",
        named_ports: "Sequence[MemberPort]" = (),
    ) -> None:
        self.namespace = namespace
        self.labels = labels
        self.addresses = addresses
        self.named_ports = named_ports


def read_member(config: "Mapping[str, object]", args: str, addresses: "Sequence[Address]") -> Member:
    """Return what a container is to policies.

    Args:
        config: a plugin's configuration; its `args.cni` may have `labels` and `namedPorts`.
        args: CNI_ARGS, which may name a pod of Kubernetes and its namespace.
        addresses: of the interface.

    Raises:
        CniError: INVALID_CONFIG: labels or named ports are malformed. Without them, the container could have
            connections that a policy denies.
    """
    pairs = split_args(args)
    labels = {label: pairs[key] for key, label in _POD_LABELS.items() if key in pairs}
    stated = config.get("args")
    conventions = stated.get("cni") if isinstance(stated, dict) else None
    found = conventions if isinstance(conventions, dict) else {}
    for entry in _list_entries(found, "labels"):
        key, value = entry.get("key"), entry.get("value", "")
        if not isinstance(key, str) or not isinstance(value, str):
            raise _refuse('each entry of "labels" in "args.cni" must have "key" and "value", both texts')
        labels[key] = value
    ports = [_read_port(entry) for entry in _list_entries(found, "namedPorts")]
    return Member(pairs.get("K8S_POD_NAMESPACE", _DEFAULT_NAMESPACE), labels, addresses, ports)


def _list_entries(conventions: "dict[str, object]", key: str) -> "list[dict[str, object]]":
    entries = conventions.get(key)
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _refuse(f'"{key}" in "args.cni" must be a list of objects')
    return entries


def _read_port(entry: "dict[str, object]") -> MemberPort:
    name, protocol, port = entry.get("name"), entry.get("protocol", "TCP"), entry.get("port")
    is_valid = isinstance(name, str) and isinstance(port, int) and 0 < port <= 0xFFFF
    if not is_valid or protocol not in _PROTOCOLS:
        raise _refuse(
            'each entry of "namedPorts" in "args.cni" must have "name", a "port" from 1 to 65535, '
            f'and perhaps a "protocol": {", ".join(_PROTOCOLS)}'
        )
    return MemberPort(str(name), str(protocol), int(str(port)))


def _refuse(what: str) -> CniError:
    return CniError(INVALID_CONFIG, what, "network policies find containers by them")
