"""What bridges forward, sent through the host instead: how policies are asked without br_netfilter.

Containers of one bridge find each other as ever, by ARP and neighbour discovery. A packet that one of them
then sends to another is addressed to the bridge itself, before the bridge looks at it: the host gets it, and
routes it back to the bridge, by the hook in which policies are. That is done with what comes from a
container that policies are for, and with what is for its hardware address, so that the host sees both
directions of a connection. What the bridge would forward to or from such a container all the same is dropped,
whatever addresses it has: policies would not be asked about it.

    the bridge      prerouting: rerouted      v
    the host                                    forward: the policies, output
    the bridge                                                               ^ container

The host has to route by the bridge, then: it needs an address on it.
"""

from shibafu.cni.errors import NETWORK_SETUP, CniError
from shibafu.netfilter.forwarding import is_forwarding, is_link_forwarding
from shibafu.netfilter.ruleset import Chain, ElementSet, Ruleset
from shibafu.netlink.link import link_by_index, link_by_name
from shibafu.netlink.route import route_get
from shibafu.policy.compiled import NEIGHBOUR_MESSAGES, Compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.netlink.link import Link
    from shibafu.netlink.socket import NetlinkSocket
    from shibafu.policy.member import Member

REROUTING_TABLE = "bridge shibafu_rerouted"
_MANY4, _MANY6 = "{ 224.0.0.0/4, 255.255.255.255 }", "ff00::/8"
# Behind the checks of the addresses that frames come from: NF_BR_PRI_NAT_DST_BRIDGED and later.
_HOOK = "type filter hook prerouting priority -299"
# The host would forward what is for a link-local address, which no policy knows.
_RECEIVED = [
    "meta pkttype { broadcast, multicast } return",
    f"icmpv6 type {{ {NEIGHBOUR_MESSAGES} }} return",
    "ip6 daddr fe80::/10 return",
    *(
        f"meta protocol {{ ip, ip6 }} ether daddr set {key} map @{name} meta pkttype set host return"
        for key, name in (("iifname", "senders"), ("ether daddr", "receivers"))
    ),
]
# As filters of bridges: NF_BR_PRI_FILTER_BRIDGED. What the host sends or gets is not forwarded.
_FORWARD_HOOK = "type filter hook forward priority -200"
_FORWARDED = [
    f"icmpv6 type {{ {NEIGHBOUR_MESSAGES} }} return",
    *(
        f"{direction} @rerouted {family} daddr != {many} drop"
        for direction in ("iifname", "oifname")
        for family, many in (("ip", _MANY4), ("ip6", _MANY6))
    ),
    "iifname != @confined return",
    "ip saddr 0.0.0.0 udp dport 67 return",  # a request of DHCP
    f"ip daddr {_MANY4} drop",
    f"ip6 daddr {_MANY6} drop",
]


def calc_rerouting(compiled: Compiled, members: "Iterable[Member]") -> Ruleset:
    """Return what reroutes what those containers that policies are for send and get."""
    rerouted = [member for member in members if member.router and member.port and compiled.selects(member)]
    # Of several with one hardware address on different bridges, the others are not reached by all.
    receivers: dict[str, str] = {}
    for member in rerouted:
        if member.mac:
            receivers.setdefault(member.mac, member.router)
    confined = [member for member in rerouted if compiled.restricts(member, "Egress")]
    senders = [f'"{member.port}" : {member.router}' for member in rerouted]
    sets = [
        ElementSet("confined", "ifname", [f'"{member.port}"' for member in confined]),
        ElementSet(
            "receivers", "ether_addr : ether_addr", [f"{a} : {b}" for a, b in receivers.items()], True
        ),
        ElementSet("rerouted", "ifname", [f'"{member.port}"' for member in rerouted]),
        ElementSet("senders", "ifname : ether_addr", senders, True),
    ]
    chains = [
        Chain(REROUTING_TABLE, "prerouting", _HOOK, _RECEIVED),
        Chain(REROUTING_TABLE, "forward", _FORWARD_HOOK, _FORWARDED),
    ]
    return Ruleset(REROUTING_TABLE, chains, sets)


def find_router(sock: "NetlinkSocket", bridge: str) -> str:
    """Return the hardware address by which the host gets frames from a bridge; empty if there is none."""
    link = link_by_name(sock, bridge) if bridge else None
    return link.mac.hex(":") if link is not None and link.kind == "bridge" else ""


def refuse_unroutable(sock: "NetlinkSocket", member: "Member", bridge: str) -> None:
    """Refuse a container that policies are for, but that the host does not route to by its bridge.

    Args:
        sock: a socket of the host's namespace.
        member: the container, on a bridge.
        bridge: the bridge's name.

    Raises:
        CniError: NETWORK_SETUP: what to do about it.
    """
    reason = _find_obstacle(sock, member, bridge)
    if reason:
        raise CniError(
            NETWORK_SETUP,
            f"network policies cannot restrict what is sent between containers on bridge {bridge}",
            f"load the kernel's module br_netfilter; without it, the host has to route that, and {reason}",
        )


def _find_obstacle(sock: "NetlinkSocket", member: "Member", bridge: str) -> str:
    if not member.port or not member.mac:
        return "the links of containers that another plugin has attached are not known"
    for address in member.addresses:
        route = route_get(sock, address.packed)
        link = link_by_index(sock, route.index) if route is not None else None
        if link is None or not _is_of_bridge(link, bridge) or (route is not None and route.gateway):
            return f'it has no route to {address} via the bridge: set "isGateway" for the network'
        if not (is_forwarding(address.version) and is_link_forwarding(link, address.version)):
            return f"it does not forward packets of IPv{address.version} from {link.name}: turn that on"
    return ""


def _is_of_bridge(link: "Link", bridge: str) -> bool:
    """Return whether a link is a bridge, or the host's own in a VLAN of it."""
    return link.name == bridge or (link.kind == "vlan" and link.name.startswith(f"{bridge}."))
