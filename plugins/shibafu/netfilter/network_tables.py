"""What the host's firewall does for a network's routed packets, as a table of nftables.

An accept there does not overrule another table's drop, so this backend masquerades and leaves forwarding to
the administrator's rules; a drop is final, so it isolates as well. See nft(8), "VERDICT STATEMENTS".
"""

from shibafu.cni.names import ISOLATED, ISOLATED_GROUP, STRICT
from shibafu.netfilter.network_rulesets import LOOPBACK, MULTICAST, NetworkRules
from shibafu.netfilter.ruleset import Chain, Ruleset

# The groups of all networks' links (NETWORK_GROUPS).
_ALL_GROUPS = "23320-23323"
_FAMILY = {4: "ip", 6: "ip6"}


def calc_nftables(rules: NetworkRules) -> Ruleset:
    """Return what nftables has, of both families."""
    table = f"inet {rules.chain.lower()}"
    sides = ("daddr", "saddr")
    loopback = [f'iifname "{name}" ip {side} {LOOPBACK} drop' for name in rules.bridges for side in sides]
    chains = [
        Chain(table, "prerouting", "type filter hook prerouting priority -300", loopback),
        Chain(table, "forward", "type filter hook forward priority 0", _calc_nft_forward(rules)),
        Chain(table, "postrouting", "type nat hook postrouting priority 100", _calc_nft_postrouting(rules)),
    ]
    return Ruleset(table, [chain for chain in chains if chain.rules], comment=rules.comment)


def _calc_nft_forward(rules: NetworkRules) -> list[str]:
    # One rule for isolation would do, but nft's releases list "not" of a state or a status in different ways.
    opened = "ct state invalid,new,untracked"
    texts = []
    for name in rules.bridges:
        for others in _calc_nft_others(rules, name):
            texts += [f"{others} ct status dnat return", f"{others} {opened} drop"]
    # Sources stay in that are not behind the bridge, as the routes say.
    for name in rules.bridges if rules.is_masqueraded else []:
        texts.append(f'iifname "{name}" oifname != "{name}" {opened} fib saddr . iif oif missing drop')
    return texts


def _calc_nft_others(rules: NetworkRules, name: str) -> list[str]:
    """Return the conditions for packets between a bridge and those networks that are kept apart."""
    leaving, entering = f'iifname "{name}" oifname != "{name}"', f'iifname != "{name}" oifname "{name}"'
    if rules.isolation == ISOLATED:
        return [f"{leaving} oifgroup {ISOLATED_GROUP}"]
    if rules.isolation == STRICT:
        return [f"{leaving} oifgroup {_ALL_GROUPS}", f"{entering} iifgroup {_ALL_GROUPS}"]
    return []


def _calc_nft_postrouting(rules: NetworkRules) -> list[str]:
    texts = []
    for version in rules.versions():
        family = _FAMILY[version]
        subnets = rules.masqueraded_of(version)
        near = subnets + rules.peers_of(version) if subnets else []
        texts += [f"{family} daddr {subnet} return" for subnet in near]
        beyond = f"{family} daddr != {MULTICAST[version]}"
        texts += [f"{family} saddr {subnet} {beyond} masquerade" for subnet in subnets]
    return texts
