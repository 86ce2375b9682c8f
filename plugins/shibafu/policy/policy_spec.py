"""What the `spec` of a NetworkPolicy says: selectors, rules, peers and ports."""

import re
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeVar

from yaml.nodes import Node, ScalarNode

from shibafu.documents.yaml_nodes import NodeReader, is_null
from shibafu.policy.label_syntax import require_label_key, require_label_value, require_port_name
from shibafu.policy.model import (
    DIRECTIONS,
    EGRESS,
    INGRESS,
    PROTOCOLS,
    TCP,
    IpBlock,
    PolicyPeer,
    PolicyPort,
    PolicyRule,
)
from shibafu.policy.selector import IN, NOT_IN, OPERATORS, Requirement, Selector

_MAX_PORT = 65535
_NUMBER = re.compile("0|[1-9][0-9]{0,18}")
# What YAML 1.1, YAML 1.2 and Kubernetes' reader do not take for the same number: 0120 is 80 to the first and
# the last, 080 and 1e3 are numbers to the last alone.
_AMBIGUOUS = re.compile("[-+]?[0-9][0-9_]*|0[xob][0-9a-f_]+|[0-9]+e[0-9]+", re.IGNORECASE)
# What a list of peers is called.
_PEERS = {INGRESS: "from", EGRESS: "to"}
_T = TypeVar("_T")


class SpecReader(NodeReader):
    """Reads the parts of a policy; of a mistake it collects nothing but the mistake."""

    def read_selector(self, node: Node, what: str) -> Selector:
        """Return a selector that is not null."""
        entries = self.mapping(node, ("matchLabels", "matchExpressions"), what)
        requirements = [
            Requirement(key, IN, [value]) for key, value in self.read_labels(entries.get("matchLabels"))
        ]
        for item in self.list_of(entries.get("matchExpressions"), '"matchExpressions"'):
            requirements.extend(self._read_expression(item))
        return Selector(requirements)

    def read_labels(self, node: Node | None, what: str = '"matchLabels"') -> Iterator[tuple[str, str]]:
        """Yield keys and values of labels."""
        for key, value in self.items(node, what) if node is not None and not is_null(node) else ():
            text = self.text(value, f'label "{key.value}"', require_label_value)
            with self.telling(key):
                require_label_key(key.value)
                if text is not None:
                    yield key.value, text

    def read_types(self, node: Node | None, has_egress: bool) -> tuple[str, ...]:
        """Return the directions that a policy isolates; the API derives them if `policyTypes` is absent."""
        stated = [
            self.text(item, '"policyTypes"', _require_direction)
            for item in self.list_of(node, '"policyTypes"')
        ]
        if not stated:
            return DIRECTIONS if has_egress else (INGRESS,)
        return tuple(direction for direction in DIRECTIONS if direction in stated)

    def read_rules(self, node: Node | None, direction: str) -> Iterator[PolicyRule]:
        """Yield the rules of a direction."""
        what, peers = direction.lower(), _PEERS[direction]
        for item in self.list_of(node, f'"{what}"'):
            if is_null(item):
                self.refuse(item, f'an entry of "{what}" is empty: write {{}} to allow everything')
                continue
            entries = self.mapping(item, (peers, "ports"), f'an entry of "{what}"')
            yield PolicyRule(
                tuple(self._read_peers(entries.get(peers), peers)) or None,
                tuple(self._read_ports(entries.get("ports"))) or None,
                self.place(item),
            )

    def list_of(self, node: Node | None, what: str) -> list[Node]:
        """Return the items of a list that may be absent or null."""
        return [] if node is None or is_null(node) else self.sequence(node, what)

    def text(self, node: Node, what: str, require: Callable[[str], _T]) -> _T | None:
        """Return a text as `require` returns it; None where it is a mistake."""
        with self.telling(node):
            value = self.construct(node)
            if not isinstance(value, str):
                raise ValueError(f"{what} must be a text: put it in quotes")
            return require(value)
        return None

    def _read_expression(self, node: Node) -> Iterator[Requirement]:
        what = 'an entry of "matchExpressions"'
        entries = self.mapping(node, ("key", "operator", "values"), what)
        if is_null(entries.get("key")) or is_null(entries.get("operator")):
            self.refuse(node, f'{what} needs "key" and "operator"')
            return
        key = self.text(entries["key"], '"key"', require_label_key)
        operator = self.text(entries["operator"], '"operator"', _require_operator)
        values = [
            self.text(item, "a value", require_label_value)
            for item in self.list_of(entries.get("values"), '"values"')
        ]
        if operator in (IN, NOT_IN) and not values:
            self.refuse(node, f'{operator} needs "values"')
        elif operator is not None and operator not in (IN, NOT_IN) and values:
            self.refuse(
                entries["values"], f"{operator} has no values; to compare with them use {IN} or {NOT_IN}"
            )
        elif key is not None and operator is not None:
            yield Requirement(key, operator, [value for value in values if value is not None])

    def _read_peers(self, node: Node | None, what: str) -> Iterator[PolicyPeer]:
        for item in self.list_of(node, f'"{what}"'):
            if is_null(item):
                self.refuse(item, f'an entry of "{what}" is empty: leave "{what}" out to allow any address')
            else:
                yield self._read_peer(item, f'an entry of "{what}"')

    def _read_peer(self, node: Node, what: str) -> PolicyPeer:
        keys = ("podSelector", "namespaceSelector", "ipBlock")
        entries = {key: value for key, value in self.mapping(node, keys, what).items() if not is_null(value)}
        if not entries:
            self.refuse(
                node,
                f"{what} needs podSelector, namespaceSelector or ipBlock; podSelector: {{}} selects all pods",
            )
        if "ipBlock" in entries and len(entries) > 1:
            self.refuse(
                entries["ipBlock"], "ipBlock cannot be combined with a selector: make it an entry of its own"
            )
        pods, namespaces, block = (entries.get(key) for key in keys)
        return PolicyPeer(
            self.read_selector(pods, '"podSelector"') if pods is not None else None,
            self.read_selector(namespaces, '"namespaceSelector"') if namespaces is not None else None,
            self._read_block(block) if block is not None else None,
        )

    def _read_block(self, node: Node) -> IpBlock | None:
        entries = self.mapping(node, ("cidr", "except"), '"ipBlock"')
        if is_null(entries.get("cidr")):
            self.refuse(node, '"ipBlock" needs "cidr"')
            return None
        cidr = self.text(entries["cidr"], '"cidr"', _parse_cidr)
        excepted = []
        for item in self.list_of(entries.get("except"), '"except"'):
            network = self.text(item, '"except"', _parse_cidr)
            if cidr is None or network is None:
                continue
            if not _is_within(network, cidr):
                self.refuse(
                    item, f"{network} must be a part of {cidr}, or it would change nothing or all of it"
                )
            excepted.append(network)
        return IpBlock(cidr, tuple(excepted)) if cidr is not None else None

    def _read_ports(self, node: Node | None) -> Iterator[PolicyPort]:
        for item in self.list_of(node, '"ports"'):
            if is_null(item):
                self.refuse(item, 'an entry of "ports" is empty: write {} for all ports of TCP')
                continue
            entries = self.mapping(item, ("protocol", "port", "endPort"), 'an entry of "ports"')
            stated = entries.get("protocol")
            protocol = (
                self.text(stated, '"protocol"', _require_protocol)
                if stated is not None and not is_null(stated)
                else TCP
            )
            port = self._read_port(entries.get("port"))
            end = self._read_number(entries.get("endPort"), "endPort")
            if end is not None and not isinstance(port, int):
                self.refuse(entries["endPort"], '"endPort" needs a "port" that is a number')
            elif end is not None and isinstance(port, int) and end < port:
                self.refuse(entries["endPort"], f'"endPort" {end} is below "port" {port}')
            if protocol is not None:
                yield PolicyPort(protocol, port, end)

    def _read_port(self, node: Node | None) -> int | str | None:
        if node is not None and node.tag == "tag:yaml.org,2002:str" and not _is_bare_number(node):
            return self.text(node, '"port"', require_port_name)
        return self._read_number(node, "port")

    def _read_number(self, node: Node | None, key: str) -> int | None:
        if node is None or is_null(node):
            return None
        text = str(node.value)
        # What YAML takes for a number includes 53:80, to the base of 60.
        if _NUMBER.fullmatch(text) and 1 <= int(text) <= _MAX_PORT:
            return int(text)
        problem = f'"{key}" is a number from 1 to {_MAX_PORT}' + (", or a name" if key == "port" else "")
        if _AMBIGUOUS.fullmatch(text) and not _NUMBER.fullmatch(text):
            problem += (
                f"; {text} is not the same number to everybody: write it in decimal, without a 0 in front"
            )
        self.refuse(node, problem)
        return None


def _is_bare_number(node: Node) -> bool:
    """Return whether a value without quotes is a number to some readers of YAML."""
    return isinstance(node, ScalarNode) and not node.style and bool(_AMBIGUOUS.fullmatch(node.value))


def _parse_cidr(text: str) -> IPv4Network | IPv6Network:
    if "/" not in text:
        raise ValueError(
            f'"{text}" has no prefix length: write one such as 10.0.0.0/24, or /32 for one address'
        )
    try:
        if "%" in text:
            raise ValueError("a link's name, which no packet has")
        return ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f'"{text}" is not a block of addresses: write one such as 10.0.0.0/24') from None


def _is_within(network: IPv4Network | IPv6Network, cidr: IPv4Network | IPv6Network) -> bool:
    """Return whether a block is a part of another, and not all of it."""
    return (
        network.version == cidr.version
        and network.prefixlen > cidr.prefixlen
        and network.network_address in cidr
    )


def _require_direction(text: str) -> str:
    if text not in DIRECTIONS:
        raise ValueError(f'"{text}" must be {" or ".join(DIRECTIONS)}')
    return text


def _require_operator(text: str) -> str:
    if text not in OPERATORS:
        raise ValueError(f'operator "{text}" must be one of {", ".join(OPERATORS)}')
    return text


def _require_protocol(text: str) -> str:
    if text not in PROTOCOLS:
        raise ValueError(f'protocol "{text}" must be one of {", ".join(PROTOCOLS)}')
    return text
