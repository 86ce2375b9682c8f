"""Expectations of policies, a table that a person keeps next to them.

    - { from: web, to: db, port: 5432, allowed: true }
    - from: { labels: { app: web } }
      to: { namespace: prod, labels: { app: dns }, named-ports: { dns: 53/udp } }
      port: udp/dns
      allowed: false

A side is the name of a container, an address, or a pod that does not have to exist, by its labels.
"""

from dataclasses import dataclass
from ipaddress import ip_address

from yaml.nodes import Node, ScalarNode

from shibafu.documents.yaml_nodes import is_null
from shibafu.policy.evaluation import PolicyEndpoint, Service
from shibafu.policy.label_syntax import require_namespace_name, require_port_name
from shibafu.policy.model import DEFAULT_NAMESPACE, NamedPort, Pod
from shibafu.policy.named_service import NamedService, parse_service_or_name
from shibafu.policy.pod_identity import parse_named_port
from shibafu.policy.policy_spec import SpecReader


@dataclass(frozen=True)
class Expectation:
    """A connection that is to be allowed, or denied.

    Args:
        source: who connects: a name, or one side of a connection.
        destination: to whom: likewise.
        service: what for, by a number or by a name that the destination gives to a port.
        is_allowed: what is expected.
        place: the file and the line.
    """

    source: str | PolicyEndpoint
    destination: str | PolicyEndpoint
    service: Service | NamedService
    is_allowed: bool
    place: str


def parse_expectations(text: str, name: str) -> list[Expectation]:
    """Return the expectations of a file, in its order.

    Args:
        text: its content.
        name: what mistakes call the file.

    Raises:
        DocumentError: every mistake in it, each on a line with its place.
    """
    reader = _ExpectationReader(name)
    return reader.parse(text, reader.read)


class _ExpectationReader(SpecReader):
    """Reads expectations."""

    def read(self, roots: list[Node]) -> list[Expectation]:
        items = (item for root in roots for item in self.sequence(root, "the file"))
        return [expectation for item in items if (expectation := self._read_expectation(item)) is not None]

    def _read_expectation(self, node: Node) -> Expectation | None:
        keys = ("from", "to", "port", "allowed")
        entries = self.mapping(node, keys, "an expectation")
        missing = [key for key in keys if is_null(entries.get(key))]
        if missing:
            self.refuse(node, f'an expectation needs "{missing[0]}"')
            return None
        source, destination = (self._read_side(entries[key], f'"{key}"') for key in ("from", "to"))
        service = self.convert(entries["port"], parse_service_or_name)
        is_allowed = self.scalar(entries["allowed"], "allowed", bool, None)
        if source is None or destination is None or service is None or is_allowed is None:
            return None
        return Expectation(source, destination, service, is_allowed, self.place(node))

    def _read_side(self, node: Node, what: str) -> str | PolicyEndpoint | None:
        if isinstance(node, ScalarNode):
            return str(node.value)
        entries = self.mapping(node, ("namespace", "labels", "named-ports", "address"), what)
        stated = entries.get("namespace")
        namespace = (
            DEFAULT_NAMESPACE
            if stated is None or is_null(stated)
            else self.text(stated, '"namespace"', require_namespace_name)
        )
        labels = dict(self.read_labels(entries.get("labels"), '"labels"'))
        address = entries.get("address")
        found = self.text(address, '"address"', ip_address) if address is not None else None
        ports = tuple(self._read_ports_of(entries.get("named-ports")))
        return PolicyEndpoint(found, Pod(namespace or "", what, labels, (), ports))

    def _read_ports_of(self, node: Node | None) -> list[NamedPort]:
        found = []
        for key, value in self.items(node, '"named-ports"') if node is not None else ():
            parsed = self.convert(value, parse_named_port)
            with self.telling(key):
                require_port_name(key.value)
                if parsed is not None:
                    found.append(NamedPort(key.value, parsed[1], parsed[0]))
        return found
