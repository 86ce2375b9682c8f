"""What the host's firewall does for a network's routed packets, and that as rulesets of iptables.

A network has one chain of the same name in those of the tables filter, nat and raw that it
needs, and jumps to it from FORWARD, POSTROUTING and PREROUTING. The jumps carry the network's name, so that
they are found and removed whatever the configuration was when they were made. What keeps all other networks
from a strictly isolated one is in mangle: it comes before what their chains in filter accept.
"""

from shibafu.cni.ip import Cidr
from shibafu.cni.names import (
    ISOLATED,
    ISOLATED_GROUP,
    OPEN,
    STRICT,
    calc_chain,
    calc_comment,
    calc_strict_chain,
)
from shibafu.netfilter.ruleset import Chain, Ruleset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# The program of iptables for each version of IP.
PROGRAMS = {4: "iptables-restore", 6: "ip6tables-restore"}
MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
LOOPBACK = "127.0.0.0/8"
# The tables of iptables, and the chain of the kernel in each that leads to a network's. First the one that
# may be refused, while nothing of the others is done: it has what networks share.
_HOOKS = (("filter", "FORWARD"), ("nat", "POSTROUTING"), ("raw", "PREROUTING"))
_STRICT_HOOK = ("mangle", "FORWARD")
# The groups of all networks' links (NETWORK_GROUPS).
_ALL_GROUPS = "0x5b18/0xfffffffc"
# The administrator's chain. The chain of each network leads there before all else.
ADMIN = "SHIBAFU-ADMIN"
# The upper half of a packet's mark, from raw to filter, where its source is not behind the bridge.
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
    """

    __slots__ = (
        "_versions",
        "bridged",
        "bridges",
        "is_masqueraded",
        "isolation",
        "network",
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
    ) -> None:
        self.network = network
        self.bridges = sorted(set(bridges))
        self.subnets = sorted(set(subnets), key=str)
        self.is_masqueraded = is_masqueraded
        self.isolation = isolation
        self.was_strict = was_strict or isolation == STRICT
        self.bridged = sorted(set(bridged))
        self._versions = {4, 6} if isolation else {*versions, *(subnet.version for subnet in subnets)}

    @property
    def chain(self) -> str:
        """The name of the network's chain, the same in every table."""
        return calc_chain(self.network)

    @property
    def comment(self) -> str:
        """What tells a person whose rule this is."""
        return calc_comment(self.network)

    def of_version(self, version: int) -> list[Cidr]:
        """Return the subnets of one family; `version` is 4 or 6."""
        return [subnet for subnet in self.subnets if subnet.version == version]

    def masqueraded_of(self, version: int) -> list[Cidr]:
        """Return the subnets of one family that are masqueraded and forwarded."""
        return self.of_version(version) if self.is_masqueraded else []

    def versions(self) -> list[int]:
        """Return the families that the network has rules for: 4, 6 or both."""
        return sorted(self._versions)


def calc_iptables(rules: NetworkRules, version: int) -> Ruleset:
    """Return what iptables has of one family; `version` is 4 or 6."""
    chains = []
    for table, hook in _HOOKS:
        texts = _IPTABLES[table](rules, version)
        if texts or table == "filter":
            chains.append(Chain(table, rules.chain, hook, texts, _calc_jumps(rules, table)))
    if rules.was_strict:
        # Of one that no longer is, the chain is empty.
        name, texts = calc_strict_chain(rules.network), _calc_strict(rules)
        jump = f'-m comment --comment "{rules.comment}" -j {name}'
        chains.append(Chain(_STRICT_HOOK[0], name, _STRICT_HOOK[1], texts, [jump]))
    return Ruleset(rules.chain, chains, comment=rules.comment, shared=ADMIN)


def calc_iptables_remains(network: str, was_strict: bool) -> Ruleset:
    """Return all chains that iptables may have of a network, without rules: to look for, and to remove."""
    name = calc_chain(network)
    chains = [Chain(table, name, hook, []) for table, hook in _HOOKS]
    if was_strict:
        chains.append(Chain(_STRICT_HOOK[0], calc_strict_chain(network), _STRICT_HOOK[1], []))
    return Ruleset(name, chains, shared=ADMIN)


def _calc_strict(rules: NetworkRules) -> list[str]:
    """Return the rules that keep all other networks apart, in both directions."""
    texts = []
    for name in rules.bridges if rules.isolation == STRICT else []:
        for way, group in ((f"-i {name} ! -o {name}", "dst"), (f"! -i {name} -o {name}", "src")):
            others = f"{way} -m devgroup --{group}-group {_ALL_GROUPS}"
            texts.append(f"{others} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP")
    return texts


def _calc_jumps(rules: NetworkRules, table: str) -> list[str]:
    jump = f'-m comment --comment "{rules.comment}" -j {rules.chain}'
    # All that any link receives passes PREROUTING: other links' packets go on at once.
    return [f"-i {name} {jump}" for name in rules.bridges] if table == "raw" else [jump]


def _calc_filter(rules: NetworkRules, version: int) -> list[str]:
    return [
        *(f"{way} -j {ADMIN}" for name in rules.bridges for way in (f"-i {name}", f"! -i {name} -o {name}")),
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
    return [f"{other} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP" for other in others]


def _calc_bridging(rules: NetworkRules, version: int) -> list[str]:
    """Return the rules, one for each bridge, that let containers reach their neighbours, as a switch does."""
    if rules.masqueraded_of(version):
        return [f"-i {name} -o {name} -j ACCEPT" for name in rules.bridges]
    if version not in rules.bridged:
        return []
    # What the host routes is the administrator's. The match loads br_netfilter, which is there.
    return [f"-i {name} -o {name} -m physdev --physdev-is-bridged -j ACCEPT" for name in rules.bridges]


def _calc_forwarding(rules: NetworkRules, version: int) -> list[str]:
    """Return the rules that let a masqueraded network's traffic through, and no spoofed sources.

    Whether a source is spoofed the routes decide, not the subnets: networks may share a bridge.
    """
    subnets = rules.masqueraded_of(version)
    if not subnets:
        return []
    lines = []
    for name in rules.bridges:
        spoofed = f"-i {name} ! -o {name} -m mark --mark {_SPOOFED}"
        lines.append(f"{spoofed} -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP")
        lines += [f"-s {subnet} -i {name} -j ACCEPT" for subnet in subnets]
        # Of another address as well: that of the container's interface on another network.
        lines.append(f"-i {name} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
        lines.append(f"-o {name} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT")
    return lines


def _calc_nat(rules: NetworkRules, version: int) -> list[str]:
    subnets = rules.masqueraded_of(version)
    return [f"-d {subnet} -j RETURN" for subnet in subnets] + [
        f"-s {subnet} ! -d {MULTICAST[version]} -j MASQUERADE" for subnet in subnets
    ]


def _calc_raw(rules: NetworkRules, version: int) -> list[str]:
    """Return the rules for what has just come in from the bridge, before anything is translated.

    The reference's portmap plugin lets the host route 127.0.0.1 between its bridges and itself, and then the
    kernel takes other addresses of that network for sources, too. Answers to what the host sent from there
    do not have that destination yet.
    """
    # For IPv6 the kernel drops it.
    lines = [f"-{side} {LOOPBACK} -j DROP" for side in ("d", "s")] if version == 4 else []
    if rules.masqueraded_of(version):
        lines.append(f"-m rpfilter --invert -j MARK --set-xmark {_SPOOFED}")
    return lines


_IPTABLES = {"filter": _calc_filter, "nat": _calc_nat, "raw": _calc_raw}
