"""The manifest of networks, a YAML file checked against a schema; every mistake is told with its line.

    networks:
      blue:
        subnets:
          - 172.21.0.0/24
          - { subnet: 172.22.0.0/16, gateway: 172.22.0.1, range: 172.22.1.0/24 }
        bridge: br-blue
        mtu: 1400
        ipv6: true
        internal: false
        masquerade: true
        isolate: false
        driver-opts: { portIsolation: true }

Nothing but the name is needed. The node tree of `yaml.compose` is read in place of plain values: it
knows where each of them stands, and keys that occur twice.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from shibafu.cni.names import STRICT
from shibafu.networks.errors import CommandError
from shibafu.networks.kernel import Network
from shibafu.networks.resolve import PartialSpec
from shibafu.networks.spec import (
    NetworkSpec,
    Subnet,
    parse_isolated,
    parse_option,
    require_network_name,
)
from shibafu.networks.subnets import (
    parse_ip_range,
    parse_subnet,
    require_usable_gateway,
    require_usable_network,
    require_usable_range,
)

# How much of a value is shown.
_SHOWN = 40
_KINDS = {bool: "true or false", int: "a whole number", str: "a text"}


@dataclass(frozen=True)
class Entry:
    """A network of a manifest.

    Args:
        partial: what it states.
        place: the file and the line, as in `networks.yaml:3`.
    """

    partial: PartialSpec
    place: str


def parse_manifest(text: str, name: str) -> list[Entry]:
    """Return the networks that a file declares, in its order.

    Args:
        text: its content.
        name: what mistakes call the file.

    Raises:
        CommandError: every mistake in it, each on a line with its place.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise CommandError(f"{name}:{line}: {error.problem or error.context}") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise CommandError(f"{name}:{line}: character {error.character:#04x} is not allowed") from None
    except RecursionError:
        raise CommandError(f"{name}: nested too deeply") from None
    reader = _Reader(name)
    declared = reader.read(root)
    if reader.mistakes:
        raise CommandError("\n".join(text for _, text in sorted(reader.mistakes)))
    return declared


class _Reader:
    """Reads the node tree and collects mistakes."""

    def __init__(self, name: str) -> None:
        self.mistakes: list[tuple[int, str]] = []
        self._name = name

    def read(self, root: Node | None) -> list[Entry]:
        if root is None:
            self.mistakes.append((1, f'{self._name}:1: the file is empty; it begins with "networks:"'))
            return []
        top = self._mapping(root, ("networks",), "the file")
        if "networks" not in top:
            self._refuse(root, '"networks" is missing')
            return []
        declared = []
        for key, node in self._items(top["networks"], '"networks"'):
            self._convert(key, require_network_name)
            declared.append(Entry(self._read_network(key.value, node), self._place(key)))
        return declared

    def _read_network(self, name: str, node: Node) -> PartialSpec:
        if self._is_null(node):
            return PartialSpec(name)
        keys = ("subnets", "bridge", "mtu", "ipv6", "internal", "masquerade", "isolate", "driver-opts")
        entries = self._mapping(node, keys, f"network {name}")
        partial = PartialSpec(
            name,
            tuple(self._read_subnets(entries["subnets"])) if "subnets" in entries else (),
            self._scalar(entries.get("bridge"), "bridge", str, ""),
            self._scalar(entries.get("mtu"), "mtu", int, 0),
            self._scalar(entries.get("ipv6"), "ipv6", bool, False),
            self._scalar(entries.get("internal"), "internal", bool, False),
            self._scalar(entries.get("masquerade"), "masquerade", bool, True),
            self._read_isolated(entries.get("isolate")),
            tuple(self._read_options(entries["driver-opts"])) if "driver-opts" in entries else (),
        )
        if partial.is_internal and any(subnet.gateway is not None for subnet in partial.subnets):
            self._refuse(node, f"network {name} is internal and cannot have a gateway")
        return partial

    def _read_subnets(self, node: Node) -> Iterator[Subnet]:
        if not isinstance(node, SequenceNode):
            self._refuse(node, '"subnets" must be a list: each item begins with a dash')
            return
        for item in node.value:
            subnet = self._read_subnet(item)
            if subnet is not None:
                yield subnet

    def _read_subnet(self, node: Node) -> Subnet | None:
        if isinstance(node, ScalarNode):
            network = self._convert(node, _parse_network)
            return Subnet(network) if network is not None else None
        entries = self._mapping(node, ("subnet", "gateway", "range"), "a subnet")
        if "subnet" not in entries:
            self._refuse(node, 'a subnet needs the key "subnet"')
            return None
        network = self._convert(entries["subnet"], _parse_network)
        gateway = self._convert(entries["gateway"], ip_address) if "gateway" in entries else None
        bounds = self._convert(entries["range"], parse_ip_range) if "range" in entries else None
        if network is None:
            return None
        if gateway is not None:
            with self._telling(entries["gateway"]):
                require_usable_gateway(network, gateway)
        if bounds is not None:
            with self._telling(entries["range"]):
                require_usable_range(network, gateway, *bounds)
        return Subnet(network, gateway, *(bounds or (None, None)))

    def _read_options(self, node: Node) -> Iterator[tuple[str, object]]:
        for key, value in self._items(node, '"driver-opts"'):
            try:
                yield key.value, parse_option(key.value, self._construct(value))
            except ValueError as error:
                self._refuse(key, str(error))

    # Nodes

    def _items(self, node: Node, what: str) -> list[tuple[ScalarNode, Node]]:
        """Return the entries of a mapping, whose keys are texts and occur once."""
        if not isinstance(node, MappingNode):
            self._refuse(node, f"{what} must map keys to values, with a colon after each key")
            return []
        items: dict[str, tuple[ScalarNode, Node]] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._refuse(key, f"a key of {what} must be a word")
            elif key.value in items:
                first = items[key.value][0].start_mark.line + 1
                self._refuse(key, f'"{key.value}" occurs twice, first on line {first}')
            else:
                items[key.value] = (key, value)
        return list(items.values())

    def _mapping(self, node: Node, keys: tuple[str, ...], what: str) -> dict[str, Node]:
        """Return the entries of a mapping that has certain keys only."""
        entries = {}
        for key, value in self._items(node, what):
            if key.value in keys:
                entries[key.value] = value
            else:
                self._refuse(key, f'{what} has no key "{key.value}"; known keys: {", ".join(keys)}')
        return entries

    def _read_isolated(self, node: Node | None) -> bool | str:
        if node is None or self._is_null(node):
            return False
        try:
            return parse_isolated(self._construct(node))
        except ValueError:
            self._refuse(node, f'"isolate" must be true, false or {STRICT}')
            return False

    def _scalar(self, node: Node | None, key: str, kind: type, default: Any) -> Any:
        if node is None or self._is_null(node):
            return default
        try:
            value = self._construct(node)
        except ValueError:
            value = None
        if type(value) is kind:
            return value
        self._refuse(node, f'"{key}" is {_KINDS[kind]}')
        return default

    def _convert(self, node: Node, convert: Callable[[str], Any]) -> Any:
        """Return an address or the like of a node's text; None when it is none."""
        if not isinstance(node, ScalarNode):
            self._refuse(node, "expected one address or subnet")
            return None
        with self._telling(node):
            return convert(node.value)
        return None

    @contextmanager
    def _telling(self, node: Node) -> Iterator[None]:
        """Collect what is wrong with a node."""
        try:
            yield
        except ValueError as error:
            self._refuse(node, str(error))
        except CommandError as error:
            self._refuse(node, f"{error.message}; {error.hint}" if error.hint else error.message)

    @staticmethod
    def _construct(node: Node) -> object:
        """Return a scalar's value; None for what is none.

        Raises:
            ValueError: it is not what its tag or its form says, such as a date with a month 13.
        """
        if not isinstance(node, ScalarNode):
            return None
        try:
            return SafeConstructor().construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError):
            raise ValueError(f'"{node.value[:_SHOWN]}" cannot be read as text: put it in quotes') from None

    @staticmethod
    def _is_null(node: Node) -> bool:
        return node.tag == "tag:yaml.org,2002:null"

    def _place(self, node: Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}"

    def _refuse(self, node: Node, problem: str) -> None:
        self.mistakes.append((node.start_mark.line, f"{self._place(node)}: {problem}"))


def _parse_network(text: str) -> Network:
    network = parse_subnet(text)
    require_usable_network(network)
    return network


def calc_manifest(specs: list[NetworkSpec]) -> dict[str, Any]:
    """Return the content of a file that declares networks, wholly and with nothing left open."""
    return {"networks": {spec.name: _calc_network(spec) for spec in specs}}


def _calc_network(spec: NetworkSpec) -> dict[str, Any]:
    network: dict[str, Any] = {
        "subnets": [_calc_subnet(subnet) for subnet in spec.subnets],
        "bridge": spec.bridge,
    }
    optional = {
        "mtu": spec.mtu,
        "internal": spec.is_internal,
        "isolate": spec.isolated,
        "driver-opts": spec.options,
    }
    network |= {key: value for key, value in optional.items() if value}
    return network if spec.is_masqueraded else network | {"masquerade": False}


def _calc_subnet(subnet: Subnet) -> str | dict[str, str]:
    if subnet == Subnet(subnet.network):
        return str(subnet.network)
    stated = {"subnet": str(subnet.network)}
    if subnet.gateway is not None:
        stated["gateway"] = str(subnet.gateway)
    if subnet.first is not None and subnet.last is not None:
        stated["range"] = f"{subnet.first}-{subnet.last}"
    return stated


def format_manifest(specs: list[NetworkSpec]) -> str:
    """Return the file as YAML."""
    return yaml.safe_dump(calc_manifest(specs), sort_keys=False).rstrip()
