"""Policies go by addresses: those of containers that policies are for have to be their own.

`ipspoofchk`: what comes in by ports of bridges is seen before it is forwarded or gets to the host. A
container may send from no address at all to get one, or to find out whether one is taken, and from link-local
ones of IPv6. Nobody assigns those, and no policy knows them. With or without this check, containers on one
bridge cannot connect to each other by them if a policy is for either, since no policy would be asked.
"""

from shibafu.netfilter.ruleset import Chain, ElementSet, Ruleset
from shibafu.policy.compiled import NEIGHBOUR_MESSAGES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.policy.member import Member

CHECK_TABLE = "bridge shibafu_policy"
# Before all others, as `macspoofchk`: NF_BR_PRI_NAT_DST_BRIDGED.
_HOOK = "type filter hook prerouting priority -300"
_SENT = [
    "iifname != @ports return",
    "ip saddr 0.0.0.0 udp dport 67 return",
    "iifname . ip saddr != @own4 drop",
    "arp saddr ip 0.0.0.0 return",
    "iifname . arp saddr ip != @own4 drop",
    "ip6 saddr { ::, fe80::/10 } return",
    "iifname . ip6 saddr != @own6 drop",
]
# As filters of bridges: NF_BR_PRI_FILTER_BRIDGED. What the host sends or gets is not forwarded.
_FORWARD_HOOK = "type filter hook forward priority -200"
_FORWARDED = [
    f"icmpv6 type {{ {NEIGHBOUR_MESSAGES} }} return",
    *(
        f"{direction} @members ip6 {side} fe80::/10 drop"
        for direction in ("iifname", "oifname")
        for side in ("saddr", "daddr")
    ),
]


def calc_address_check(members: "Iterable[Member]") -> Ruleset:
    """Return what checks the addresses of containers that policies are for."""
    known = [member for member in members if member.port]
    checked = [member for member in known if member.is_checked]
    own: dict[int, list[str]] = {4: [], 6: []}
    for member in checked:
        for address in member.addresses:
            own[address.version].append(f'"{member.port}" . {address}')
    sets = [
        ElementSet("members", "ifname", [f'"{member.port}"' for member in known]),
        ElementSet("own4", "ifname . ipv4_addr", own[4]),
        ElementSet("own6", "ifname . ipv6_addr", own[6]),
        ElementSet("ports", "ifname", [f'"{member.port}"' for member in checked]),
    ]
    chains = [
        Chain(CHECK_TABLE, "prerouting", _HOOK, _SENT),
        Chain(CHECK_TABLE, "forward", _FORWARD_HOOK, _FORWARDED),
    ]
    return Ruleset(CHECK_TABLE, chains, sets)
