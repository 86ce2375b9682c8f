"""`ipspoofchk`: a container that policies are for sends from its own addresses only: policies go by them.

The table sees what comes in by ports of bridges, before it is forwarded or gets to the host. A container may
send from no address at all to get one, or to find out whether one is taken, and from link-local ones of IPv6.
"""

from shibafu.netfilter.ruleset import Chain, ElementSet, Ruleset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.policy.member import Member

CHECK_TABLE = "bridge shibafu_policy"
# Before all others, as `macspoofchk`: NF_BR_PRI_NAT_DST_BRIDGED.
_HOOK = "type filter hook prerouting priority -300"
_RULES = [
    "iifname != @ports return",
    "ip saddr 0.0.0.0 udp dport 67 return",
    "iifname . ip saddr != @own4 drop",
    "arp saddr ip 0.0.0.0 return",
    "iifname . arp saddr ip != @own4 drop",
    "ip6 saddr { ::, fe80::/10 } return",
    "iifname . ip6 saddr != @own6 drop",
]


def calc_address_check(members: "Iterable[Member]") -> Ruleset:
    """Return what checks the addresses of containers that policies are for."""
    checked = [member for member in members if member.port]
    own: dict[int, list[str]] = {4: [], 6: []}
    for member in checked:
        for address in member.addresses:
            own[address.version].append(f'"{member.port}" . {address}')
    sets = [
        ElementSet("own4", "ifname . ipv4_addr", own[4]),
        ElementSet("own6", "ifname . ipv6_addr", own[6]),
        ElementSet("ports", "ifname", [f'"{member.port}"' for member in checked]),
    ]
    return Ruleset(CHECK_TABLE, [Chain(CHECK_TABLE, "prerouting", _HOOK, _RULES)], sets)
