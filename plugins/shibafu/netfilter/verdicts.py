"""What rules of others certainly do with a packet: pure, for the words of nft(8) and iptables(8) alike.

Of a rule only the conditions are known that tell a container's packet from others'. Of any other condition it
is taken that it may hold or not, so that what is said of a chain holds for every packet that is meant.
"""

from shibafu.lean.ip import Cidr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Chains = Mapping[str, "list[Rule]"]

# Verdicts. What may do anything is taken for ACCEPT, which is never complained about.
ACCEPT, DROP, JUMP, GOTO, RETURN, CONTINUE = "accept", "drop", "jump", "goto", "return", "continue"
# Whether a condition holds.
_NEVER, _MAYBE, _ALWAYS = range(3)
# The kernel allows 16 jumps below each other (NFT_JUMP_STACK_SIZE in net/netfilter/nf_tables.h).
_MAX_DEPTH = 16


class Packet:
    """The packets of new or established TCP and UDP connections between containers and others.

    Args:
        version: 4 or 6.
        bridge: the link of the containers.
        enters: the link that it comes in by; None for any of `others`.
        leaves: the link that it goes out by, likewise.
        others: links that the host has besides, as far as they matter.
        state: the connection's, as conntrack calls it: new, established.
        subnets: the containers'; none when they are unknown.
    """

    __slots__ = ("bridge", "enters", "leaves", "others", "state", "subnets", "version")

    def __init__(
        self,
        version: int,
        bridge: str,
        enters: str | None,
        leaves: str | None,
        others: frozenset[str],
        state: str,
        subnets: list[Cidr],
    ) -> None:
        self.version = version
        self.bridge = bridge
        self.enters = enters
        self.leaves = leaves
        self.others = others
        self.state = state
        self.subnets = [subnet for subnet in subnets if subnet.version == version]


class Rule:
    """A rule, as far as it is understood.

    A condition is a list of alternatives, and whether it is negated.

    Attributes:
        verdict: one of the above.
        target: the chain that JUMP and GOTO lead to.
        is_whole: whether there are no other conditions.
        versions: the families that it is for.
        enters, leaves: names of links; an asterisk at the end stands for anything.
        sources, destinations: subnets.
        states: conntrack's.
    """

    __slots__ = (
        "destinations",
        "enters",
        "is_whole",
        "leaves",
        "sources",
        "states",
        "target",
        "verdict",
        "versions",
    )

    def __init__(self) -> None:
        self.verdict = CONTINUE
        self.target = ""
        self.is_whole = True
        self.versions = {4, 6}
        self.enters: tuple[list[str], bool] | None = None
        self.leaves: tuple[list[str], bool] | None = None
        self.sources: tuple[list[Cidr], bool] | None = None
        self.destinations: tuple[list[Cidr], bool] | None = None
        self.states: tuple[list[str], bool] | None = None

    def names_bridge(self, packet: Packet) -> bool:
        """Return whether a rule names this bridge, so that its effect is intended."""
        links = (self.enters, packet.enters), (self.leaves, packet.leaves)
        return any(
            condition is not None and not condition[1] and link == packet.bridge and link in condition[0]
            for condition, link in links
        )

    def match(self, packet: Packet) -> int:
        """Return whether the rule is for such packets: never, for some perhaps, or always."""
        if packet.version not in self.versions:
            return _NEVER
        found = [
            _match_link(self.enters, packet.enters, packet.others),
            _match_link(self.leaves, packet.leaves, packet.others),
            _match_state(self.states, packet.state),
            _match_subnets(self.sources, packet.subnets if packet.enters == packet.bridge else []),
            _match_subnets(self.destinations, packet.subnets if packet.leaves == packet.bridge else []),
        ]
        return min([*found, _ALWAYS if self.is_whole else _MAYBE])


def _is_named(pattern: str, link: str) -> bool:
    return link.startswith(pattern[:-1]) if pattern.endswith("*") else link == pattern


def _match_link(condition: tuple[list[str], bool] | None, link: str | None, others: frozenset[str]) -> int:
    if condition is None:
        return _ALWAYS
    patterns, is_negated = condition
    links = others if link is None else {link}
    named = sum(any(_is_named(pattern, name) for pattern in patterns) for name in links)
    matching = len(links) - named if is_negated else named
    if not matching:
        return _NEVER
    return _ALWAYS if matching == len(links) else _MAYBE


def _match_state(condition: tuple[list[str], bool] | None, state: str) -> int:
    if condition is None:
        return _ALWAYS
    states, is_negated = condition
    if state in states:
        return _NEVER if is_negated else _ALWAYS
    # What opens a connection may be untracked, what answers may be related.
    kin = {"new": "untracked", "established": "related"}[state]
    if kin in states and not is_negated:
        return _MAYBE
    return _ALWAYS if is_negated else _NEVER


def _match_subnets(condition: tuple[list[Cidr], bool] | None, subnets: list[Cidr]) -> int:
    if condition is None:
        return _ALWAYS
    stated, is_negated = condition
    is_apart = subnets and not any(a.overlaps(b) for a in stated for b in subnets)
    if is_apart:
        return _ALWAYS if is_negated else _NEVER
    return _MAYBE


def is_dropped(chains: "Chains", base: str, policy: str, packet: Packet) -> bool:
    """Return whether a base chain certainly drops all such packets, without that being intended.

    Args:
        chains: the rules of all chains of the table.
        base: the chain's name.
        policy: accept or drop.
        packet: which packets.
    """
    ends = _walk(chains, base, packet, 0)
    if RETURN in ends:
        ends = ends - {RETURN} | {policy}
    return ends == {DROP}


def _walk(chains: "Chains", name: str, packet: Packet, depth: int) -> set[str]:
    """Return how packets may leave a chain: ACCEPT, DROP, or RETURN at its end."""
    if name not in chains or depth > _MAX_DEPTH:
        return {ACCEPT}  # it is not understood
    ends: set[str] = set()
    for rule in chains[name]:
        match = _NEVER if rule.verdict == CONTINUE else rule.match(packet)
        if match == _NEVER:
            continue
        is_way = rule.verdict in (JUMP, GOTO)
        reached = _walk(chains, rule.target, packet, depth + 1) if is_way else {rule.verdict}
        if DROP in reached and rule.names_bridge(packet):
            reached = reached - {DROP} | {ACCEPT}
        goes_on = match != _ALWAYS or (rule.verdict == JUMP and RETURN in reached)
        ends |= reached - {RETURN} if rule.verdict == JUMP else reached
        if not goes_on:
            return ends
    return ends | {RETURN}
