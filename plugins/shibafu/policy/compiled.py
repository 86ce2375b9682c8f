"""Policies compiled to the words of nftables, as calls of plugins read them: without YAML.

What depends on the containers is left open, and is decided here for one container at a time: which policies
select it, in which sets of peers it is, and which numbers its named ports have.

A chain is named after its content. It is never changed, and each call that needs one can make it,
whether it exists or not. A set of peers is named after the selector: containers come and go in it.
"""

from shibafu.cni.names import calc_digest
from shibafu.lean.ip import parse_cidr
from shibafu.lean.json import dumps
from shibafu.netfilter.ruleset import Chain, ElementSet, Ruleset
from shibafu.policy.member import Member
from shibafu.policy.selector import Selector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from shibafu.lean.ip import Address

TABLE = "inet shibafu_policy"
# The label that each namespace has; `model.NAME_LABEL`, which is not for plugins to import.
_NAME_LABEL = "kubernetes.io/metadata.name"
_VERSION = 1
# So many ports of a rule are a rule each. More are a set without a name, which the kernel looks up among all
# sets of the table when it is loaded: with 12,000 of them that took 27 s, and 2 s without.
_MOST_RULES = 8
# What a direction's chains and maps begin with, and which of a packet's addresses is the peer's.
_SIDES = {"Ingress": ("in", "saddr"), "Egress": ("eg", "daddr")}
_FAMILIES = {4: ("ip", "ipv4_addr"), 6: ("ip6", "ipv6_addr")}
# ICMPv6 by which neighbours are found, in the order in which nft lists it.
NEIGHBOUR_MESSAGES = (
    "mld-listener-query, mld-listener-report, mld-listener-done, nd-router-solicit, "
    "nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report"
)
_BASE = "forward"
_HOOK = "type filter hook forward priority -10"
# Before the maps: what is open stays so; neighbours are found; a container reaches its own published ports.
# No policy knows link-local addresses, to which the host would forward what comes from others.
_BASE_RULES = [
    "ct state established,related accept",
    f"icmpv6 type {{ {NEIGHBOUR_MESSAGES} }} accept",
    "ip6 daddr fe80::/10 ip6 saddr != fe80::/10 drop",
    "ip saddr . ip daddr @self4 accept",
    "ip6 saddr . ip6 daddr @self6 accept",
    "ip saddr vmap @eg4",
    "ip6 saddr vmap @eg6",
    "ip daddr vmap @in4",
    "ip6 daddr vmap @in6",
]


class PeerSet:
    """The addresses of pods that a selector takes, or where these listen to a port that they give a name to.

    Args:
        namespace: the name of their namespace; None to go by the labels of namespaces.
        namespaces: the labels of their namespaces; None if the name is given.
        pods: their labels.
        port: the name of a port, and its protocol; None for addresses only.
        blocks: a network that their addresses must be in, and what is left out of it; None for any address.
    """

    __slots__ = ("blocks", "key", "namespace", "namespaces", "pods", "port")

    def __init__(
        self,
        namespace: str | None,
        namespaces: Selector | None,
        pods: Selector,
        port: "Sequence[str] | None" = None,
        blocks: "Sequence[str] | None" = None,
    ) -> None:
        self.namespace = namespace
        self.namespaces = namespaces
        self.pods = pods
        self.port = tuple(port) if port is not None else None
        self.blocks = list(blocks) if blocks is not None else None
        self.key = calc_digest(dumps(self.to_json()), size=8)

    def to_json(self) -> "list[Any]":
        """Return it as JSON, the same for the same pods."""
        namespaces = self.namespaces.to_json() if self.namespaces is not None else None
        return [self.namespace, namespaces, self.pods.to_json(), self.port and list(self.port), self.blocks]

    @classmethod
    def from_json(cls, document: "list[Any]") -> "PeerSet":
        """Return what `to_json` was called for."""
        namespace, namespaces, pods, port, blocks = document
        wanted = Selector.from_json(namespaces) if namespaces is not None else None
        return cls(namespace, wanted, Selector.from_json(pods), port, blocks)

    @property
    def kind(self) -> str:
        """What its elements have after the address, as nft calls the type."""
        return "" if self.port is None else " . inet_service"

    @property
    def prefix(self) -> str:
        """What its names begin with; the family and the key follow."""
        return "s" if self.port is None else "n"

    def find_elements(self, member: Member, namespace_labels: "Mapping[str, str]") -> "list[tuple[int, str]]":
        """Return the elements of a member, each after its family: none if the selector does not take it."""
        if self.namespaces is None:
            if member.namespace != self.namespace:
                return []
        elif not self.namespaces.matches(namespace_labels):
            return []
        if not self.pods.matches(member.labels):
            return []
        addresses = [one for one in member.addresses if self.blocks is None or _is_among(one, self.blocks)]
        if self.port is None:
            return [(one.version, str(one)) for one in addresses]
        ports = {p.port for p in member.named_ports if (p.name, p.protocol) == self.port}
        return [(one.version, f"{one} . {port}") for one in addresses for port in sorted(ports)]


class CompiledPolicy:
    """One policy.

    Args:
        namespace: where the pods are that it is for.
        pods: which of them.
        rules: for each direction that it isolates what it allows: the name of a set of peers without the
            family, empty for any address, and ports, None for any. A port is a protocol, alone or with the
            first and the last number, or with a name.
    """

    __slots__ = ("namespace", "pods", "rules")

    def __init__(self, namespace: str, pods: Selector, rules: "dict[str, list[Any]]") -> None:
        self.namespace = namespace
        self.pods = pods
        self.rules = rules


class Compiled:
    """All policies of a host.

    Args:
        policies: the policies.
        peers: the sets of peers.
        blocks: the elements of sets of networks by their names.
        namespaces: the labels of namespaces that have other ones than their names.
        stated: the digests of what networks' configurations state; see `stated_policies`.
    """

    __slots__ = ("blocks", "namespaces", "peers", "policies", "stated")

    def __init__(
        self,
        policies: "Sequence[CompiledPolicy]" = (),
        peers: "Sequence[PeerSet]" = (),
        blocks: "Mapping[str, list[str]] | None" = None,
        namespaces: "Mapping[str, Mapping[str, str]] | None" = None,
        stated: "Sequence[str]" = (),
    ) -> None:
        self.policies = policies
        self.peers = peers
        self.blocks = blocks or {}
        self.namespaces = namespaces or {}
        self.stated = stated

    def to_json(self) -> "dict[str, Any]":
        """Return it as JSON."""
        return {
            "v": _VERSION,
            "policies": [[one.namespace, one.pods.to_json(), one.rules] for one in self.policies],
            "peers": [one.to_json() for one in self.peers],
            "blocks": self.blocks,
            "namespaces": self.namespaces,
            "stated": list(self.stated),
        }

    @classmethod
    def from_json(cls, document: "Mapping[str, Any]") -> "Compiled":
        """Return what `to_json` was called for.

        Raises:
            ValueError: another release wrote it.
        """
        if document.get("v") != _VERSION:
            raise ValueError("another release has compiled the policies")
        policies = [
            CompiledPolicy(namespace, Selector.from_json(pods), rules)
            for namespace, pods, rules in document["policies"]
        ]
        peers = [PeerSet.from_json(one) for one in document["peers"]]
        # The first releases have written none.
        stated = [str(digest) for digest in document.get("stated", ())]
        return cls(policies, peers, document["blocks"], document["namespaces"], stated)

    def calc_table(self) -> Ruleset:
        """Return the parts of the table that do not depend on containers."""
        sets = [ElementSet(f"{name}{v}", f"{kind} : verdict", [], True) for name, v, kind in _list_maps()]
        sets += [ElementSet(f"self{v}", f"{kind} . {kind}", []) for v, (_, kind) in _FAMILIES.items()]
        for peer in self.peers:
            sets += [
                ElementSet(f"{peer.prefix}{version}{peer.key}", kind + peer.kind, [])
                for version, (_, kind) in _FAMILIES.items()
            ]
        for name, elements in self.blocks.items():
            sets.append(ElementSet(name, f"{_FAMILIES[int(name[1])][1]}; flags interval", elements))
        return Ruleset(TABLE, [Chain(TABLE, _BASE, _HOOK, _BASE_RULES)], sets)

    def calc_member(self, member: Member) -> Ruleset:
        """Return what the table has for one container: elements, and the chains that they lead to.

        A container that is neither the target of a policy nor a peer has nothing.
        """
        chains: list[Chain] = []
        elements: dict[str, list[str]] = {}
        labels = self._find_labels(member.namespace)
        for peer in self.peers:
            for version, element in peer.find_elements(member, labels):
                elements.setdefault(f"{peer.prefix}{version}{peer.key}", []).append(element)
        selecting = self._find_selecting(member)
        for direction, (side, _) in _SIDES.items():
            rules = [one.rules[direction] for one in selecting if direction in one.rules]
            if not rules:
                continue
            chain = _calc_chain(direction, [rule for allowed in rules for rule in allowed], member)
            chains.append(chain)
            for address in member.addresses:
                jump = f"{address} : jump {chain.name}"
                elements.setdefault(f"{side}{address.version}", []).append(jump)
        if chains:
            for address in member.addresses:
                elements.setdefault(f"self{address.version}", []).append(f"{address} . {address}")
        maps = {f"{side}{version}" for side, version, _ in _list_maps()}
        return Ruleset(
            TABLE, chains, [ElementSet(name, "", held, name in maps) for name, held in elements.items()]
        )

    def selects(self, member: Member) -> bool:
        """Return whether any policy is for a container; it may still be a peer of others."""
        return bool(self._find_selecting(member))

    def restricts(self, member: Member, direction: str) -> bool:
        """Return whether policies do not allow a container all connections in a direction."""
        restricting = [one.rules[direction] for one in self._find_selecting(member) if direction in one.rules]
        return bool(restricting) and not any(["", None] in rules for rules in restricting)

    def _find_selecting(self, member: Member) -> list[CompiledPolicy]:
        return [
            one
            for one in self.policies
            if one.namespace == member.namespace and one.pods.matches(member.labels)
        ]

    def _find_labels(self, namespace: str) -> "Mapping[str, str]":
        return self.namespaces.get(namespace) or {_NAME_LABEL: namespace}


def calc_set_name(kind: str, version: int, content: "Iterable[str]") -> str:
    """Return the name of a set that is named after what is in it."""
    return f"{kind}{version}{calc_digest(*content, size=8)}"


def _list_maps() -> "list[tuple[str, int, str]]":
    """Return side, family and type of key of each map."""
    return [(side, version, kind) for side, _ in _SIDES.values() for version, (_, kind) in _FAMILIES.items()]


def _calc_chain(direction: str, rules: "list[Any]", member: Member) -> Chain:
    side, peer_side = _SIDES[direction]
    allowed = {
        f"{line}return" for peer, ports in rules for line in _calc_lines(peer, ports, peer_side, member)
    }
    lines = ["return"] if "return" in allowed else [*sorted(allowed), "counter drop"]
    return Chain(TABLE, f"{side}-{calc_digest(*lines, size=8)}", "", lines)


def _calc_lines(peer: str, ports: "list[list[Any]] | None", side: str, member: Member) -> "list[str]":
    """Return the matches of a rule, each with a space at the end unless it is empty."""
    heads = [f"{_FAMILIES[version][0]} {side} " for version in (4, 6)]
    if peer.startswith("n"):
        protocol = (ports or [["TCP"]])[0][0].lower()
        return [
            f"{head}. {protocol} dport @n{version}{peer[1:]} "
            for version, head in zip((4, 6), heads, strict=True)
        ]
    if not peer:
        sources = [""]
    elif peer.startswith("any"):
        sources = [f"meta nfproto ipv{peer[3:]} "]
    elif peer.startswith("b"):
        sources = [f"{_FAMILIES[int(peer[1])][0]} {side} @{peer} "]
    else:
        sources = [f"{head}@s{version}{peer[1:]} " for version, head in zip((4, 6), heads, strict=True)]
    return [source + match for source in sources for match in _calc_port_matches(ports, member)]


def _calc_port_matches(ports: "list[list[Any]] | None", member: Member) -> "list[str]":
    """Return a match for each protocol; names are the member's own."""
    if ports is None:
        return [""]
    ranges: dict[str, list[tuple[int, int]]] = {}
    for protocol, *numbers in ports:
        found = ranges.setdefault(protocol, [])
        if not numbers:
            found.append((0, 0xFFFF))
        elif len(numbers) == 1:
            named = [p.port for p in member.named_ports if (p.name, p.protocol) == (numbers[0], protocol)]
            found += [(port, port) for port in named]
        else:
            found.append((numbers[0], numbers[1]))
    return [
        match
        for protocol, found in ranges.items()
        if found
        for match in _list_port_matches(protocol.lower(), merge_ranges(found))
    ]


def _list_port_matches(protocol: str, ranges: "list[tuple[int, int]]") -> "list[str]":
    if ranges == [(0, 0xFFFF)]:
        return [f"meta l4proto {protocol} "]
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    if len(texts) > _MOST_RULES:
        texts = [f"{{ {', '.join(texts)} }}"]
    return [f"{protocol} dport {text} " for text in texts]


def merge_ranges(ranges: "Iterable[tuple[int, int]]") -> "list[tuple[int, int]]":
    """Return ranges, first and last number each, sorted, and those joined that overlap or adjoin."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _is_among(address: "Address", blocks: "list[str]") -> bool:
    inside, *outside = map(parse_cidr, blocks)
    return inside.contains(address) and not any(one.contains(address) for one in outside)
