"""The host's routers, a YAML file checked against a schema; every mistake is told with its line.

routers:
  - gateway: 192.0.2.1
    dev: eth0
    metric: 100
  - gateway: 198.51.100.1
    dev: eth1
    metric: 200
"""

from yaml.nodes import Node

from shibafu.documents.document_files import read_document
from shibafu.documents.link_names import require_iface_name
from shibafu.documents.yaml_nodes import NodeReader
from shibafu.lean.ip import Address, parse_address
from shibafu.watch.routers.router_settings import RAISE, RouterSettings

_SIZE_LIMIT = 1 << 20
_KEYS = ("gateway", "dev", "metric")


def read_router_config(path: str) -> list[RouterSettings]:
    """Return the routers of a file; see `parse_router_config`.

    Raises:
        OSError: it cannot be read.
    """
    return parse_router_config(*read_document(path, _SIZE_LIMIT))


def parse_router_config(text: str, name: str) -> list[RouterSettings]:
    """Return the routers that a file declares, in its order.

    Args:
        text: its content.
        name: what mistakes call the file.

    Raises:
        DocumentError: every mistake in it, each on a line with its place.
    """
    reader = _Reader(name)
    return reader.parse(text, reader.read)


class _Reader(NodeReader):
    """Reads the routers of a node tree."""

    def read(self, roots: list[Node]) -> list[RouterSettings]:
        section = self.only_section(roots, "routers")
        routers: list[RouterSettings] = []
        for node in self.sequence(section, '"routers"') if section is not None else ():
            router = self._read_router(node)
            if router is not None:
                self._compare(node, router, routers)
                routers.append(router)
        return routers

    def _compare(self, node: Node, one: RouterSettings, others: list[RouterSettings]) -> None:
        """Refuse what only one of the routers can have."""
        for other in others:
            if (one.gateway, one.dev) == (other.gateway, other.dev):
                self.refuse(node, f"router {one} occurs twice")
            elif (one.family, one.metric) == (other.family, other.metric):
                self.refuse(
                    node,
                    f"routers {other} and {one} have the same metric: the preferred one needs a lower one",
                )

    def _read_router(self, node: Node) -> RouterSettings | None:
        before = len(self.mistakes)
        entries = self.mapping(node, _KEYS, "a router")
        for key in _KEYS:
            if key not in entries and len(self.mistakes) == before:
                self.refuse(node, f'a router needs the key "{key}"')
        gateway = self.convert(entries["gateway"], _require_gateway) if "gateway" in entries else None
        dev = self.convert(entries["dev"], require_iface_name) if "dev" in entries else None
        metric: int = self.scalar(entries.get("metric"), "metric", int, 0)
        if "metric" in entries and not 0 < metric < RAISE and len(self.mistakes) == before:
            self.refuse(entries["metric"], f'"metric" is a number from 1 to {RAISE - 1}')
        if gateway is None or dev is None or len(self.mistakes) > before:
            return None
        return RouterSettings(gateway.packed, dev, metric)


def _require_gateway(text: str) -> Address:
    address = parse_address(text)
    first = address.packed[0]
    if address.version == 6:
        is_possible = first != 0xFF and address.packed[:15] != bytes(15)
    else:
        is_possible = first not in (0, 127) and first < 0xE0
    if not is_possible:
        raise ValueError(f'"{text}" is not the address of a router')
    return address
