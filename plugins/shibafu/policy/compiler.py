"""The compiler: policies of people become rules of nftables, but for what depends on containers."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, summarize_address_range

from shibafu.policy.compiled import Compiled, CompiledPolicy, PeerSet, calc_set_name, merge_ranges
from shibafu.policy.model import EGRESS, IpBlock, Policy, PolicyPeer, PolicyPort, PolicyRule, PolicySet
from shibafu.policy.selector import Selector

_Network = IPv4Network | IPv6Network
# A rule: the name of a set of peers, and ports; see `CompiledPolicy`.
_Line = list[object]


def compile_policies(policies: PolicySet) -> Compiled:
    """Return the policies as plugins apply them."""
    compiler = _Compiler()
    compiled = [compiler.compile(policy) for policy in policies.policies]
    namespaces = {one.name: dict(one.labels) for one in policies.namespaces}
    return Compiled(compiled, list(compiler.peers.values()), compiler.blocks, namespaces, policies.stated)


class _Compiler:
    """Collects the sets that policies have in common."""

    def __init__(self) -> None:
        self.peers: dict[str, PeerSet] = {}
        self.blocks: dict[str, list[str]] = {}

    def compile(self, policy: Policy) -> CompiledPolicy:
        rules = {
            direction: [
                line
                for rule in policy.rules(direction)
                for line in self._compile_rule(rule, direction, policy.namespace)
            ]
            for direction in policy.types
        }
        return CompiledPolicy(policy.namespace, policy.pod_selector, rules)

    def _compile_rule(self, rule: PolicyRule, direction: str, namespace: str) -> Iterable[_Line]:
        names = [port for port in rule.ports or () if isinstance(port.port, str)]
        if direction == EGRESS:
            # Each destination has numbers of its own for them.
            for port in names:
                yield from self._compile_named(rule, port, namespace)
            numbers = [port for port in rule.ports or () if port not in names]
            if names and not numbers:
                return
        else:
            numbers = list(rule.ports or ())
        ports = [_compile_port(port) for port in numbers] if rule.ports is not None else None
        for peer in rule.peers or (None,):
            name = self._name_peers(peer, namespace)
            if name is not None:
                yield [name, ports]

    def _compile_named(self, rule: PolicyRule, port: PolicyPort, namespace: str) -> Iterable[_Line]:
        for peer in rule.peers or (PolicyPeer(namespace_selector=Selector()),):
            taken = _calc_peer_set(peer, namespace, [str(port.port), port.protocol])
            self.peers[taken.key] = taken
            yield [f"n{taken.key}", [[port.protocol]]]

    def _name_peers(self, peer: PolicyPeer | None, namespace: str) -> str | None:
        """Return the name of the set that a peer's addresses are in, without the family; None for nobody."""
        if peer is None:
            return ""
        if peer.ip_block is not None:
            return self._name_block(peer.ip_block)
        taken = _calc_peer_set(peer, namespace)
        self.peers[taken.key] = taken
        return f"s{taken.key}"

    def _name_block(self, block: IpBlock) -> str | None:
        version = block.cidr.version
        ranges = list(_subtract(block))
        if not ranges:
            return None
        if len(ranges) == 1 and _count(ranges[0]) == block.cidr.max_prefixlen and not block.cidr.prefixlen:
            return f"any{version}"  # nftables has no such interval
        elements = [_render_range(first, last, version) for first, last in ranges]
        name = calc_set_name("b", version, elements)
        self.blocks[name] = elements
        return name


def _calc_peer_set(peer: PolicyPeer, namespace: str, port: list[str] | None = None) -> PeerSet:
    if peer.ip_block is not None:
        blocks = [str(peer.ip_block.cidr), *sorted(map(str, peer.ip_block.excepted))]
        return PeerSet(None, Selector(), Selector(), port, blocks)
    own = namespace if peer.namespace_selector is None else None
    return PeerSet(own, peer.namespace_selector, peer.pod_selector or Selector(), port)


def _compile_port(port: PolicyPort) -> list[object]:
    if port.port is None:
        return [port.protocol]
    if isinstance(port.port, str):
        return [port.protocol, port.port]
    return [port.protocol, port.port, port.end_port or port.port]


def _subtract(block: IpBlock) -> Iterable[tuple[int, int]]:
    """Yield the first and the last address of each range of a block, as numbers."""
    at, last = int(block.cidr.network_address), int(block.cidr.broadcast_address)
    gaps = [(int(one.network_address), int(one.broadcast_address)) for one in block.excepted]
    for gap_first, gap_last in merge_ranges(gaps):
        if at < gap_first:
            yield at, gap_first - 1
        at = max(at, gap_last + 1)
    if at <= last:
        yield at, last


def _count(span: tuple[int, int]) -> int:
    """Return how many bits number the addresses of a range."""
    return (span[1] - span[0]).bit_length()


def _render_range(first: int, last: int, version: int) -> str:
    """Return a range as nft lists it: an address, a network or the two ends."""
    make = IPv4Address if version == 4 else IPv6Address
    ends = make(first), make(last)
    if first == last:
        return str(ends[0])
    networks: list[_Network] = list(summarize_address_range(*ends))
    return str(networks[0]) if len(networks) == 1 else f"{ends[0]}-{ends[1]}"
