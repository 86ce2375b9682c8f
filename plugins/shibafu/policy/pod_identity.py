"""What policies find a container by: its namespace, its labels and the names of its ports.

It is found in what a plugin is called with, and an attachment's record keeps; the strongest comes last:

- `K8S_POD_NAME` and `K8S_POD_NAMESPACE` of CNI_ARGS, as labels `io.kubernetes.pod.name` and `.namespace`;
- `args.cni.labels` of the configuration (https://www.cni.dev/docs/conventions/);
- annotations `org.shibafu.labels.KEY` of the pod, if the configuration declares the capability for them;
- `SHIBAFU_LABELS` and `SHIBAFU_PORTS` of CNI_ARGS, which the command and the hook set: `KEY:VALUE` adds a
  label, `!KEY` removes one that comes before.

Labels that are malformed are refused: without them, a container could have connections that a policy denies.
"""

from shibafu.cni.args import join_args, split_args
from shibafu.cni.config import Section
from shibafu.cni.names import LABEL_ANNOTATION, POD_ANNOTATIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

NAMESPACE_ARG = "K8S_POD_NAMESPACE"
NAME_ARG = "K8S_POD_NAME"
LABELS_ARG = "SHIBAFU_LABELS"
PORTS_ARG = "SHIBAFU_PORTS"
_NAMESPACE = "default"
_POD_LABELS = {NAME_ARG: "io.kubernetes.pod.name", NAMESPACE_ARG: "io.kubernetes.pod.namespace"}
_PROTOCOLS = ("tcp", "udp", "sctp")
_MAX_PORT = 65535


class PodIdentity:
    """What policies find a container by.

    Args:
        namespace: the name of its namespace.
        name: of the pod in Kubernetes; empty if it is not one.
        labels: its labels.
        ports: name, protocol in capitals and number of each port that has a name.
    """

    __slots__ = ("labels", "name", "namespace", "ports")

    def __init__(
        self,
        namespace: str = _NAMESPACE,
        name: str = "",
        labels: "Mapping[str, str] | None" = None,
        ports: "Iterable[tuple[str, str, int]]" = (),
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.labels = dict(labels or {})
        self.ports = list(ports)


def find_pod_identity(config: "Mapping[str, object]", args: str) -> PodIdentity:
    """Return what policies find a container by.

    Args:
        config: the configuration that its plugin was called with.
        args: CNI_ARGS.

    Raises:
        CniError: INVALID_CONFIG: labels are malformed.
    """
    stated = split_args(args)
    labels = {label: stated[key] for key, label in _POD_LABELS.items() if key in stated}
    section = Section(dict(config), "NetConf")
    labels |= _read_convention(section)
    labels |= _read_annotations(section)
    _change_labels(labels, stated.get(LABELS_ARG, ""))
    return PodIdentity(
        stated.get(NAMESPACE_ARG) or _NAMESPACE,
        stated.get(NAME_ARG, ""),
        labels,
        _read_ports(stated.get(PORTS_ARG, "")),
    )


def calc_identity_args(
    namespace: str, labels: "Mapping[str, str]", ports: "Iterable[tuple[str, str, int]]"
) -> dict[str, str]:
    """Return the pairs of CNI_ARGS that state what policies find a container by.

    Args:
        namespace: empty for the default.
        labels: valid ones, whose keys and values have no commas or colons.
        ports: name, protocol and number of each port with a name.
    """
    pairs = {
        NAMESPACE_ARG: namespace,
        LABELS_ARG: ",".join(f"{key}:{value}" for key, value in labels.items()),
        PORTS_ARG: ",".join(f"{name}:{number}/{protocol.lower()}" for name, protocol, number in ports),
    }
    stated = {key: value for key, value in pairs.items() if value}
    # Other plugins of the chain do not know them.
    return {"IgnoreUnknown": "1", **stated} if stated else {}


def change_labels_arg(args: str, changes: "Mapping[str, str | None]") -> str:
    """Return CNI_ARGS by which a container has other labels.

    Args:
        args: CNI_ARGS.
        changes: valid labels; None removes one, wherever it was stated.
    """
    stated = split_args(args)
    items = {item.removeprefix("!").partition(":")[0]: item for item in stated.get(LABELS_ARG, "").split(",")}
    items |= {key: f"!{key}" if value is None else f"{key}:{value}" for key, value in changes.items()}
    stated |= {"IgnoreUnknown": "1", LABELS_ARG: ",".join(item for item in items.values() if item)}
    return join_args(stated)


def _change_labels(labels: dict[str, str], text: str) -> None:
    for item in text.split(","):
        if item.startswith("!"):
            labels.pop(item[1:], None)
    labels |= dict(_parse_pairs(text, ":"))


def _parse_pairs(text: str, separator: str) -> "Iterator[tuple[str, str]]":
    """Yield the pairs of a list whose items are separated by commas, without malformed ones."""
    for item in text.split(","):
        key, found, value = item.partition(separator)
        if key and found:
            yield key, value


def parse_named_port(text: str) -> tuple[int, str]:
    """Return the number and the protocol, in capitals, of `PORT[/PROTOCOL]`.

    Raises:
        ValueError: it is not a port.
    """
    number, _, protocol = text.partition("/")
    protocol = protocol or "tcp"
    # With a 0 in front, YAML takes it for octal.
    is_number = number.isascii() and number.isdecimal() and len(number) <= 5 and number[0] != "0"
    if not is_number or not 1 <= int(number) <= _MAX_PORT or protocol.lower() not in _PROTOCOLS:
        raise ValueError(f'"{text}" is not a port: write one such as 80/tcp, with tcp, udp or sctp')
    return int(number), protocol.upper()


def _read_ports(text: str) -> "Iterator[tuple[str, str, int]]":
    for name, value in _parse_pairs(text, ":"):
        try:
            number, protocol = parse_named_port(value)
        except ValueError:
            continue
        yield name, protocol, number


def _read_convention(section: Section) -> dict[str, str]:
    labels = section.section("args").section("cni").sections("labels")
    return {item.text("key"): item.text("value") for item in labels if item.text("key")}


def _read_annotations(section: Section) -> dict[str, str]:
    annotations = section.section("runtimeConfig").section(POD_ANNOTATIONS)
    return {
        key.removeprefix(LABEL_ANNOTATION): annotations.text(key)
        for key in annotations.values
        if key.startswith(LABEL_ANNOTATION)
    }
