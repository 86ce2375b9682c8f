"""Policies go by addresses: those of containers that policies are for have to be their own.

`ipspoofchk`: what comes in by ports of bridges is seen before it is forwarded or gets to the host. A
container may send from no address at all to get one, or to find out whether one is taken, and from link-local
ones of IPv6. Nobody assigns those, and no policy knows them. With or without this check, containers on one
bridge cannot connect to each other by them if a policy is for either, since no policy would be asked. Nor is
one asked about addresses that stand for many: what a container sends to these does not reach those on its
bridge to which policies do not allow everything.

A frame with a tag of VLAN 0, or with several of them, is to its receiver as if it had none, while
br_netfilter passes tagged frames over (/proc/sys/net/bridge/bridge-nf-filter-vlan-tagged). None is forwarded
from a container that a policy is for, or to one.

An advertisement of a neighbour, RFC 4861, says in its body whose address it is about. Releases of nft list
that field differently if it is given by its place in the ICMPv6 message, but not by its place in the packet:
then an IPv6 header has to come before it, and no other.
"""

from shibafu.netfilter.ruleset import Chain, ElementSet, Ruleset
from shibafu.policy.compiled import NEIGHBOUR_MESSAGES, Compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.policy.member import Member

CHECK_TABLE = "bridge shibafu_policy"
# Before all others, as `macspoofchk`: NF_BR_PRI_NAT_DST_BRIDGED.
_HOOK = "type filter hook prerouting priority -300"
_TARGET = "@nh,384,128"
_SENT = [
    "iifname @members vlan id 0 drop",
    "iifname @members ether type 8021ad vlan id 0 drop",
    "iifname != @ports return",
    "ip saddr 0.0.0.0 udp dport 67 return",
    "iifname . ip saddr != @own4 drop",
    "arp saddr ip 0.0.0.0 return",
    "iifname . arp saddr ip != @own4 drop",
    "icmpv6 type nd-neighbor-advert @nh,320,8 != 0x88 drop",
    f"icmpv6 type nd-neighbor-advert @nh,384,16 != 0xfe80 iifname . {_TARGET} != @targets drop",
    "ip6 saddr { ::, fe80::/10 } return",
    "iifname . ip6 saddr != @own6 drop",
]
# As filters of bridges: NF_BR_PRI_FILTER_BRIDGED. What the host sends or gets is not forwarded.
_FORWARD_HOOK = "type filter hook forward priority -200"
_FORWARDED = [
    "oifname @members vlan id 0 drop",
    "oifname @members ether type 8021ad vlan id 0 drop",
    f"icmpv6 type {{ {NEIGHBOUR_MESSAGES} }} return",
    *(
        f"{direction} @members ip6 {side} fe80::/10 drop"
        for direction in ("iifname", "oifname")
        for side in ("saddr", "daddr")
    ),
    "oifname != @guarded return",
    "udp sport 67 udp dport 68 return",  # an answer of DHCP
    "ip daddr { 224.0.0.0/4, 255.255.255.255 } drop",
    "ip6 daddr ff00::/8 drop",
    "meta pkttype broadcast meta protocol ip drop",  # to the subnet's own address for this
]


def calc_address_check(compiled: Compiled, members: "Iterable[Member]") -> Ruleset:
    """Return what checks the addresses of those containers that policies are for."""
    known = [member for member in members if member.port and compiled.selects(member)]
    checked = [member for member in known if member.is_checked]
    own: dict[int, list[str]] = {4: [], 6: []}
    for member in checked:
        for address in member.addresses:
            own[address.version].append(f'"{member.port}" . {address}')
    targets = [
        f'"{member.port}" . {address.value:#x}'
        for member in checked
        for address in member.addresses
        if address.version == 6
    ]
    sets = [
        ElementSet(
            "guarded", "ifname", [f'"{one.port}"' for one in known if compiled.restricts(one, "Ingress")]
        ),
        ElementSet("members", "ifname", [f'"{member.port}"' for member in known]),
        ElementSet("own4", "ifname . ipv4_addr", own[4]),
        ElementSet("own6", "ifname . ipv6_addr", own[6]),
        ElementSet("targets", f"typeof iifname . {_TARGET}", targets),
        ElementSet("ports", "ifname", [f'"{member.port}"' for member in checked]),
    ]
    chains = [
        Chain(CHECK_TABLE, "prerouting", _HOOK, _SENT),
        Chain(CHECK_TABLE, "forward", _FORWARD_HOOK, _FORWARDED),
    ]
    return Ruleset(CHECK_TABLE, chains, sets)
