"""What the host's firewall does for a network's routed packets, and that as rulesets of iptables.

A network has a chain in each of the tables filter and nat, and up to three in mangle, and rules in the
kernel's chains that lead there. These carry the network's name, so that they are found and removed whatever
the configuration was when they were made.

Most packets belong to connections that containers have opened. FORWARD accepts these by itself, right behind
the administrator's chain, and PREROUTING passes them by: what new packets have to meet is in chains.
"""

from shibafu.cni.names import (
    ISOLATED,
    ISOLATED_GROUP,
    OPEN,
    STRICT,
    calc_chain,
    calc_comment,
    calc_input_chain,
    calc_isolate,
    calc_prerouting_chain,
    calc_strict_chain,
)
from shibafu.lean.ip import Cidr
from shibafu.netfilter.ruleset import Chain, Ruleset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# The program of iptables for each version of IP.
PROGRAMS = {4: "iptables-restore", 6: "ip6tables-restore"}
MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
LOOPBACK = "127.0.0.0/8"
# States of packets that belong to a connection which has been let through.
_KNOWN = "RELATED,ESTABLISHED"
# The groups of all networks' links (NETWORK_GROUPS).
_ALL_GROUPS = "0x5b18/0xfffffffc"
# The administrator's chain. What a network's packets come to first leads there.
ADMIN = "SHIBAFU-ADMIN"
# The upper half of a packet's mark, from mangle to filter, where its source is not behind the bridge.
_SPOOFED = f"{ISOLATED_GROUP << 16:#x}/0xffff0000"


class NetworkRules:
    """What the host's firewall does for one network.

    Traffic that leaves the network's subnets is masqueraded, except to multicast groups; what its
    containers send is forwarded, and so are answers and published ports (DNAT) towards them. Sources that
    are not behind the bridge do not leave. Isolated, containers open no connections to those of other
    isolated networks, whose links have a group in common; strictly isolated, to those of no other network,
    nor do these to them. None reaches the host's 127.0.0.1.

    Args:
        network: the network's name, a valid identifier.
        bridges: the links that its containers' traffic enters and leaves the host by: one, unless the
            configuration was changed while containers run.
        subnets: the subnets of its containers, of both families.
        is_masqueraded: whether there is masquerading and forwarding.
        isolation: OPEN; ISOLATED: other isolated networks are kept apart; STRICT: all others are. Over both
            families: a container can give itself an address of the other.
        versions: families that it has rules for, besides those that it needs.
        bridged: families of which FORWARD sees what stays on the bridge; masquerading forwards that anyway.
        was_strict: whether it has been strictly isolated since it has had containers.
        peers: ranges of addresses, of both families, that its containers reach without masquerading and are
            reached from, if it is masqueraded: those of the same network on other hosts.
        is_rerouted: whether FORWARD sees what stays on the bridge since the host routes it.
    """

    __slots__ = (
        "_record",
        "_versions",
        "bridged",
        "bridges",
        "is_masqueraded",
        "is_rerouted",
        "isolation",
        "network",
        "peers",
        "subnets",
        "was_strict",
    )

    def __init__(
        self,
        network: str,
        bridges: list[str],
        subnets: list[Cidr],
        is_masqueraded: bool = True,
        isolation: str = OPEN,
        versions: "Iterable[int]" = (),
        bridged: "Iterable[int]" = (),
        was_strict: bool = False,
        peers: "Iterable[Cidr]" = (),
        is_rerouted: bool = False,
    ) -> None:
        self.network = network
        self.bridges = sorted(set(bridges))
        self.subnets = sorted(set(subnets), key=str)
        self.is_masqueraded = is_masqueraded
        self.isolation = isolation
        self.was_strict = was_strict or isolation == STRICT
        self.bridged = sorted(set(bridged))
        self.peers = sorted(set(peers), key=str) if is_masqueraded else []
        self.is_rerouted = is_rerouted
        self._versions = {4, 6} if isolation else {*versions, *(subnet.version for subnet in subnets)}
        self._record: dict[str, object] = {}

    @property
    def chain(self) -> str:
        """The name of the network's chain, the same in every table."""
        return calc_chain(self.network)

    @property
    def comment(self) -> str:
        """The comment that tells people what the rule belongs to."""
        return calc_comment(self.network)

    def of_version(self, version: int) -> list[Cidr]:
        """Return the subnets of one family; `version` is 4 or 6."""
        return [subnet for subnet in self.subnets if subnet.version == version]

    def peers_of(self, version: int) -> list[Cidr]:
        """Return the peers of one family."""
        return [peer for peer in self.peers if peer.version == version]

    def masqueraded_of(self, version: int) -> list[Cidr]:
        """Return the subnets of one family that are masqueraded and forwarded."""
        return self.of_version(version) if self.is_masqueraded else []

    def versions(self) -> list[int]:
        """Return the families that the network has rules for: 4, 6 or both."""
        return sorted(self._versions)

    def to_record(self) -> dict[str, object]:
        """Return what is recorded of these rules, without how far they have been made; not to be changed."""
        # Kept: a call compares it with what was recorded, and looks up by it the hint that they are right.
        if not self._record:
            self._record = {
                "bridges": self.bridges,
                "subnets": [str(subnet) for subnet in self.subnets],
                "masqueraded": self.is_masqueraded,
                "isolated": calc_isolate(self.isolation),
                "versions": self.versions(),
                "bridged": self.bridged,
            }
            # Records of releases without these are whole.
            if self.was_strict:
                self._record["strict"] = True
            if self.peers:
                self._record["peers"] = [str(peer) for peer in self.peers]
            if self.is_rerouted:
                self._record["rerouted"] = True
        return self._record


def calc_iptables(rules: NetworkRules, version: int) -> Ruleset:
    """Return what iptables has of one family; `version` is 4 or 6."""
    chains = _list_chains(rules.network, rules.was_strict)
    for chain in chains:
        calc_rules, calc_jumps = _CONTENTS[chain.table, chain.hook]
        chain.rules = calc_rules(rules, version)
        chain.jumps = calc_jumps(rules, version, chain.name)
    # The chain of a network that is no longer strict is empty.
    kept = [chain for chain in chains if chain.rules or (chain.table, chain.hook) == _STRICT_HOOK]
    return Ruleset(rules.chain, kept, comment=rules.comment, shared=ADMIN, former=_list_former(rules.network))


def calc_iptables_remains(network: str, was_strict: bool) -> Ruleset:
    """Return all chains that iptables may have of a network, without rules: to look for, and to remove."""
    chains, former = _list_chains(network, was_strict), _list_former(network)
    return Ruleset(calc_chain(network), chains, comment=calc_comment(network), shared=ADMIN, former=former)


def _list_chains(network: str, was_strict: bool) -> list[Chain]:
    """Return a network's chains, still empty.

    First the one that may be refused, while nothing of the others is done: it has what networks share.
    """
    name = calc_chain(network)
    strict = [Chain(_STRICT_HOOK[0], calc_strict_chain(network), _STRICT_HOOK[1], [])] if was_strict else []
    return [
        Chain("filter", name, "FORWARD", []),
        Chain("nat", name, "POSTROUTING", []),
        Chain("mangle", calc_prerouting_chain(network), "PREROUTING", []),
        Chain("mangle", calc_input_chain(network), "INPUT", []),
        *strict,
    ]


def _list_former(network: str) -> list[Chain]:
    """Return the chains that earlier releases made."""
    return [Chain("raw", calc_chain(network), "PREROUTING", [])]


def _calc_jump(rules: NetworkRules, name: str, condition: str = "") -> str:
    return f'-m comment --comment "{rules.comment}" {condition}-j {name}'


def _jump_always(rules: NetworkRules, version: int, name: str) -> list[str]:
    return [_calc_jump(rules, name)]


def _jump_from_bridges(rules: NetworkRules, version: int, name: str) -> list[str]:
    return [f"-i {bridge} {_calc_jump(rules, name)}" for bridge in rules.bridges]


def _jump_unless_known(rules: NetworkRules, version: int, name: str) -> list[str]:
    jump = _calc_jump(rules, name, f"-m conntrack ! --ctstate {_KNOWN} ")
    return [f"-i {bridge} {jump}" for bridge in rules.bridges]


def _jump_to_filter(rules: NetworkRules, version: int, name: str) -> list[str]:
    """Return what FORWARD has of a network, in its order.

    Packets of connections that containers have opened are accepted there: a chain would be one more rule to
    meet for each of them. They go to the administrator first, like all others.
    """
    texts = []
    # Of one that forges an address of the host's for an answer's, more is asked in the chain.
    genuine = f"! -s {LOOPBACK} " if version == 4 else ""
    for subnet in rules.masqueraded_of(version):
        known = f"-m conntrack --ctstate {_KNOWN} --ctorigsrc {subnet} "
        texts.append(_calc_jump(rules, ADMIN, known))
        for bridge in rules.bridges:
            texts += [f"{genuine}{way} {bridge} {_calc_jump(rules, 'ACCEPT', known)}" for way in ("-o", "-i")]
    for bridge in rules.bridges:
        ways = f"-i {bridge}", f"! -i {bridge} -o {bridge}"
        texts += [f"{way} {_calc_jump(rules, name)}" for way in ways]
    return texts


def _calc_strict(rules: NetworkRules, version: int) -> list[str]:
    """Return the rules that keep all other networks apart, in both directions.

    They are in mangle, which comes before what other networks' rules in filter accept.
    """
    texts = []
    for name in rules.bridges if rules.isolation == STRICT else []:
        for way, group in ((f"-i {name} ! -o {name}", "dst"), (f"! -i {name} -o {name}", "src")):
            others = f"{way} -m devgroup --{group}-group {_ALL_GROUPS}"
            texts.append(f"{others} -m conntrack ! --ctstate {_KNOWN},DNAT -j DROP")
    return texts


def _calc_filter(rules: NetworkRules, version: int) -> list[str]:
    """Return the rules for what a network's containers send by way of the host, and what they are sent."""
    loopback = [f"-{side} {LOOPBACK} -j DROP" for side in ("s", "d")] if version == 4 else []
    # Of other sources as well: that of the container's interface on another network.
    genuine = f"! -s {LOOPBACK} ! -d {LOOPBACK} " if version == 4 else ""
    known = f"{genuine}-m conntrack --ctstate {_KNOWN} -j ACCEPT"
    return [
        f"-j {ADMIN}",
        *([known] if rules.masqueraded_of(version) else []),
        *loopback,
        *_calc_isolation(rules),
        *_calc_bridging(rules, version),
        *_calc_forwarding(rules, version),
    ]


def _calc_isolation(rules: NetworkRules) -> list[str]:
    """Return the rules, one for each bridge, that keep other isolated networks apart.

    Only the network's own chain accepts what comes in from its bridge, so that it does for both
    directions, and knows the others by their links' group.
    """
    if rules.isolation != ISOLATED:
        return []
    others = [f"-i {name} ! -o {name} -m devgroup --dst-group {ISOLATED_GROUP:#x}" for name in rules.bridges]
    return [f"{other} -m conntrack ! --ctstate {_KNOWN},DNAT -j DROP" for other in others]


def _calc_bridging(rules: NetworkRules, version: int) -> list[str]:
    """Return the rules, one for each bridge, that let containers reach their neighbours, as a switch does."""
    if rules.masqueraded_of(version):
        return [f"-i {name} -o {name} -j ACCEPT" for name in rules.bridges]
    if version not in rules.bridged:
        return []
    # What the host routes is the administrator's. The match needs br_netfilter.
    match = "" if rules.is_rerouted else "-m physdev --physdev-is-bridged "
    return [f"-i {name} -o {name} {match}-j ACCEPT" for name in rules.bridges]


def _calc_forwarding(rules: NetworkRules, version: int) -> list[str]:
    """Return the rules that let a masqueraded network's new connections through, and no spoofed sources.

    Whether a source is spoofed the routes decide, not the subnets: networks may share a bridge.
    """
    subnets = rules.masqueraded_of(version)
    if not subnets:
        return []
    lines = []
    for name in rules.bridges:
        lines.append(f"-i {name} ! -o {name} -m mark --mark {_SPOOFED} -j DROP")
        lines += [f"-s {subnet} -i {name} -j ACCEPT" for subnet in subnets]
        lines += [f"-s {peer} -o {name} -j ACCEPT" for peer in rules.peers_of(version)]
        lines.append(f"-o {name} -m conntrack --ctstate DNAT -j ACCEPT")
    return lines


def _calc_nat(rules: NetworkRules, version: int) -> list[str]:
    subnets = rules.masqueraded_of(version)
    near = subnets + rules.peers_of(version) if subnets else []
    return [f"-d {subnet} -j RETURN" for subnet in near] + [
        f"-s {subnet} ! -d {MULTICAST[version]} -j MASQUERADE" for subnet in subnets
    ]


def _calc_prerouting(rules: NetworkRules, version: int) -> list[str]:
    """Return the rules for what comes in from the bridge and belongs to no connection, untranslated.

    The reference's portmap plugin lets the host route 127.0.0.1 between its bridges and itself, and then the
    kernel takes other addresses of that network for sources, too.
    """
    # For IPv6 the kernel drops it.
    lines = [f"-{side} {LOOPBACK} -j DROP" for side in ("d", "s")] if version == 4 else []
    if rules.masqueraded_of(version):
        lines.append(f"-m rpfilter --invert -j MARK --set-xmark {_SPOOFED}")
    return lines


def _calc_input(rules: NetworkRules, version: int) -> list[str]:
    """Return the rules for what the host itself gets from the bridge, and belongs to a connection.

    Those that the host has with itself on 127.0.0.1 are known, too, and a container could forge packets of
    theirs. At this point, an answer to what it has sent from there to a published port has that destination,
    and so may have what is translated to a service of its own: conntrack has the destination they came with.
    """
    if version == 6:
        return []
    came = [f"--ctorigdst {LOOPBACK} --ctdir ORIGINAL", f"--ctrepldst {LOOPBACK} --ctdir REPLY"]
    return [f"-s {LOOPBACK} -j DROP", *(f"-m conntrack {destination} -j DROP" for destination in came)]


_STRICT_HOOK = ("mangle", "FORWARD")
# By table and the kernel's chain: what a network's chain contains, and what leads there.
_CONTENTS = {
    ("filter", "FORWARD"): (_calc_filter, _jump_to_filter),
    ("nat", "POSTROUTING"): (_calc_nat, _jump_always),
    ("mangle", "PREROUTING"): (_calc_prerouting, _jump_unless_known),
    ("mangle", "INPUT"): (_calc_input, _jump_from_bridges),
    _STRICT_HOOK: (_calc_strict, _jump_always),
}
