"""`isolate`: the groups by which rules know the links of networks, and how far these are kept apart.

Those of open networks are in a group as well, by which strictly isolated ones know them.
"""

from shibafu.cni.names import ISOLATED, NETWORK_GROUPS, OPEN, STRICT, is_host_veth
from shibafu.netlink.link import Link, link_list, link_set
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import Fault

# The groups that tell of rules.
KEPT_APART = (NETWORK_GROUPS[ISOLATED], NETWORK_GROUPS[STRICT])
_OWN_GROUPS = frozenset(NETWORK_GROUPS.values())
# The kernel's for links that nobody put into one.
_NO_GROUP = 0
_NAMES = {ISOLATED: "isolated", STRICT: "strictly isolated"}


def ensure_group(sock: NetlinkSocket, link: Link, isolation: str) -> None:
    """Let the rules of other networks know a network's link by its group.

    The group that somebody else gave to the link of an open network stays.
    """
    wanted = NETWORK_GROUPS[isolation]
    is_free = link.group == _NO_GROUP or link.group in _OWN_GROUPS
    if link.group != wanted and (isolation != OPEN or is_free):
        sock.request(link_set(link.index, group=wanted))


def find_group_faults(link: Link, isolation: str) -> list[Fault]:
    """Return what is wrong with the group of a network's link."""
    wanted = NETWORK_GROUPS[isolation]
    if isolation != OPEN and link.group != wanted:
        return [
            Fault(
                f"link {link.name} is not in the group of {_NAMES[isolation]} networks",
                f"somebody changed it from {wanted} to {link.group}; "
                "the next ADD of this network restores it",
            )
        ]
    if isolation == OPEN and link.group in KEPT_APART:
        return [Fault(f"link {link.name} is still in the group of isolated networks")]
    return []


def ensure_others(sock: NetlinkSocket) -> None:
    """Put other networks' bridges into the group of open ones that are in none: older releases made them."""
    for link in _list_unknown(sock):
        if link.group == _NO_GROUP:
            sock.request(link_set(link.index, group=NETWORK_GROUPS[OPEN]))


def find_faults_of_others(sock: NetlinkSocket) -> list[Fault]:
    """Return the bridges of other networks that a strictly isolated one does not know by their group."""
    return [
        Fault(
            f"bridge {link.name} of another network is not kept apart",
            f"its interface group is {link.group}, by which no rule knows it: "
            f"`ip link set {link.name} group {NETWORK_GROUPS[OPEN]}` changes that",
            is_mendable=link.group == _NO_GROUP,
        )
        for link in _list_unknown(sock)
    ]


def _list_unknown(sock: NetlinkSocket) -> list[Link]:
    """Return the bridges that have no group of ours, but containers of ours and nothing else.

    One with another port, such as an uplink, may lead to the outside.
    """
    return [
        bridge
        for bridge in link_list(sock, kind="bridge")
        if bridge.group not in _OWN_GROUPS and _has_only_containers(sock, bridge)
    ]


def _has_only_containers(sock: NetlinkSocket, bridge: Link) -> bool:
    ports = link_list(sock, master=bridge.index)
    return bool(ports) and all(is_host_veth(port.name) for port in ports)
