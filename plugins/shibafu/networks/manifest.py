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

Nothing but the name is needed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import yaml
from yaml.nodes import Node, ScalarNode, SequenceNode

from shibafu.cni.names import STRICT
from shibafu.documents.errors import DocumentError
from shibafu.documents.yaml_nodes import NodeReader, is_null
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
    reader = _Reader(name)
    try:
        return reader.parse(text, reader.read)
    except DocumentError as error:
        raise CommandError(str(error)) from None


class _Reader(NodeReader):
    """Reads the networks of a node tree."""

    def read(self, roots: list[Node]) -> list[Entry]:
        section = self.only_section(roots, "networks")
        declared = []
        for key, node in self.items(section, '"networks"') if section is not None else ():
            self.convert(key, require_network_name)
            declared.append(Entry(self._read_network(key.value, node), self.place(key)))
        return declared

    def _read_network(self, name: str, node: Node) -> PartialSpec:
        if is_null(node):
            return PartialSpec(name)
        keys = ("subnets", "bridge", "mtu", "ipv6", "internal", "masquerade", "isolate", "driver-opts")
        entries = self.mapping(node, keys, f"network {name}")
        partial = PartialSpec(
            name,
            tuple(self._read_subnets(entries["subnets"])) if "subnets" in entries else (),
            self.scalar(entries.get("bridge"), "bridge", str, ""),
            self.scalar(entries.get("mtu"), "mtu", int, 0),
            self.scalar(entries.get("ipv6"), "ipv6", bool, False),
            self.scalar(entries.get("internal"), "internal", bool, False),
            self.scalar(entries.get("masquerade"), "masquerade", bool, True),
            self._read_isolated(entries.get("isolate")),
            tuple(self._read_options(entries["driver-opts"])) if "driver-opts" in entries else (),
        )
        if partial.is_internal and any(subnet.gateway is not None for subnet in partial.subnets):
            self.refuse(node, f"network {name} is internal and cannot have a gateway")
        return partial

    def _read_subnets(self, node: Node) -> Iterator[Subnet]:
        for item in self.sequence(node, '"subnets"'):
            subnet = self._read_subnet(item)
            if subnet is not None:
                yield subnet

    def _read_subnet(self, node: Node) -> Subnet | None:
        if isinstance(node, ScalarNode):
            network = self.convert(node, _parse_network)
            return Subnet(network) if network is not None else None
        entries = self.mapping(node, ("subnet", "gateway", "range"), "a subnet")
        if "subnet" not in entries:
            self.refuse(node, 'a subnet needs the key "subnet"')
            return None
        network = self.convert(entries["subnet"], _parse_network)
        gateway = self.convert(entries["gateway"], ip_address) if "gateway" in entries else None
        bounds = self.convert(entries["range"], parse_ip_range) if "range" in entries else None
        if network is None:
            return None
        if gateway is not None:
            with self.telling(entries["gateway"]):
                require_usable_gateway(network, gateway)
        if bounds is not None:
            with self.telling(entries["range"]):
                require_usable_range(network, gateway, *bounds)
        return Subnet(network, gateway, *(bounds or (None, None)))

    def _read_options(self, node: Node) -> Iterator[tuple[str, object]]:
        for key, value in self.items(node, '"driver-opts"'):
            try:
                yield key.value, parse_option(key.value, self._construct_option(value))
            except ValueError as error:
                self.refuse(key, str(error))

    def _construct_option(self, node: Node) -> object:
        if isinstance(node, SequenceNode):
            return [self.construct(item) for item in self.sequence(node, "a list")]
        return self.construct(node)

    def _read_isolated(self, node: Node | None) -> bool | str:
        if node is None or is_null(node):
            return False
        try:
            return parse_isolated(self.construct(node))
        except ValueError:
            self.refuse(node, f'"isolate" must be true, false or {STRICT}')
            return False

    @contextmanager
    def telling(self, node: Node) -> Iterator[None]:
        """Collect what is wrong with a node, a failure with a hint included."""
        with super().telling(node):
            try:
                yield
            except CommandError as error:
                self.refuse(node, f"{error.message}; {error.hint}" if error.hint else error.message)


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
