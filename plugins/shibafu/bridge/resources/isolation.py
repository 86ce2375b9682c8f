"""`isolate`: the group by which rules know the link that a network's packets enter and leave the host by.

That of an open network is in a group as well, by which strictly isolated ones know it. ADD comes here where a
group has to change, or others' have to be looked at.
"""

import os

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.resources.shared_bridge import WORDS, find_stricter, has_stricter_sharer, refuse_stricter
from shibafu.cni.errors import CniError
from shibafu.cni.names import ISOLATED, NETWORK_GROUPS, OPEN, STRICT, is_host_veth
from shibafu.netlink.link import Link, link_by_name, link_list, link_peer
from shibafu.netlink.link_requests import link_set
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

# Has a directory for each link, and is listed much faster than links are by netlink.
_LINKS = "/proc/sys/net/ipv4/conf"
_OWN_GROUPS = frozenset(NETWORK_GROUPS.values())
# The kernel's for links that nobody put into one.
_NO_GROUP = 0


def find_group_faults(config: BridgeConfig, link: Link) -> list[Fault]:
    """Return what is wrong with the group of a network's link, which is not that of networks like it."""
    if config.isolate != OPEN:
        what = f"link {link.name} is not in the group of {WORDS[config.isolate]} networks"
        advice = f"its group was changed from {NETWORK_GROUPS[config.isolate]} to {link.group}"
    elif link.group in (NETWORK_GROUPS[ISOLATED], NETWORK_GROUPS[STRICT]):
        what = f"link {link.name} is still in the group of isolated networks"
        advice = "the network used to be isolated, or the group was set by hand"
    else:
        return []
    other = find_stricter(config)
    if other is not None:
        return [Fault(what, f"{other.describe()}; {other.advice}", is_mendable=False)]
    return [Fault(what, f"{advice}; the next ADD of this network, or `shibafu network repair`, restores it")]


def ensure_group(sock: NetlinkSocket, link: Link, config: BridgeConfig, is_ours: bool) -> bool:
    """Put a network's link into the group of networks that are isolated as it is; return whether it was not.

    The group that somebody else gave to the link of an open network stays.

    Args:
        sock: a socket in the host's namespace.
        link: the link.
        config: the network's configuration.
        is_ours: whether ADD made the link. A bridge of the administrator's may lead to the outside, which
            strictly isolated networks reach.

    Raises:
        CniError: another network has containers on it, and isolates them more strictly.
    """
    is_free = is_ours if link.group == _NO_GROUP else link.group in _OWN_GROUPS
    if link.group == NETWORK_GROUPS[config.isolate] or (config.isolate == OPEN and not is_free):
        return False
    refuse_stricter(config)
    sock.request(link_set(link.index, group=NETWORK_GROUPS[config.isolate]))
    try:
        # Again: an ADD at the same moment that has found the former group has written its record before that.
        refuse_stricter(config)
    except CniError:
        sock.request(link_set(link.index, group=link.group))
        raise
    return True


def restore_group(config: BridgeConfig, port: str, former: int) -> None:
    """Put a network's link back into the group that a failed ADD has found.

    It stays where it is if that isolates containers which have come meanwhile.

    Args:
        config: the network's configuration.
        port: the link of the attachment that failed.
        former: the group.
    """
    wanted = NETWORK_GROUPS[config.isolate]
    if has_stricter_sharer(config, port, former):
        return
    with NetlinkSocket() as sock:
        link = link_by_name(sock, config.gateway_link)
        if link is None or link.group != wanted:
            return
        sock.request(link_set(link.index, group=former))
        # Again, as in `ensure_group`.
        if has_stricter_sharer(config, port, former):
            sock.request(link_set(link.index, group=wanted))


def ensure_others(sock: NetlinkSocket, own_bridge: str) -> None:
    """Put other networks' links into the group of open ones that are in none: older releases made them.

    Args:
        sock: a socket in the host's namespace.
        own_bridge: the bridge of a strictly isolated network, which may have no port yet.
    """
    for link in _list_unknown(sock, own_bridge):
        if link.group == _NO_GROUP:
            sock.request(link_set(link.index, group=NETWORK_GROUPS[OPEN]))


def find_faults_of_others(sock: NetlinkSocket) -> list[Fault]:
    """Return the links of other networks that a strictly isolated one does not know by their group."""
    return [
        Fault(
            f"{'bridge' if link.kind == 'bridge' else 'gateway link'} {link.name} of another network "
            "is not isolated from this one",
            f"its interface group is {link.group}, which no rule matches: "
            f"change it with `ip link set {link.name} group {NETWORK_GROUPS[OPEN]}`",
            is_mendable=link.group == _NO_GROUP,
        )
        for link in _list_unknown(sock)
    ]


def _list_unknown(sock: NetlinkSocket, empty: str = "") -> list[Link]:
    """Return the links that have no group of ours, but lead to containers of ours.

    A bridge does that has containers' ports and nothing else, and a gateway's link in a VLAN. A bridge with
    another port, such as an uplink, may lead to the outside.

    Args:
        sock: a socket in the host's namespace.
        empty: a bridge that counts even without ports.
    """
    bridges = {link.name: link for link in link_list(sock, kind="bridge")}
    unknown = [
        bridge
        for bridge in bridges.values()
        if bridge.group not in _OWN_GROUPS and _has_only_containers(sock, bridge, bridge.name == empty)
    ]
    for name in calc_gateway_names(bridges, os.listdir(_LINKS)):
        link = link_by_name(sock, name)
        if link is not None and link.group not in _OWN_GROUPS and _is_gateway_link(sock, link, bridges):
            unknown.append(link)
    return unknown


def _has_only_containers(sock: NetlinkSocket, bridge: Link, may_be_empty: bool) -> bool:
    ports = link_list(sock, master=bridge.index)
    return (bool(ports) or may_be_empty) and all(is_host_veth(port.name) for port in ports)


def calc_gateway_names(bridges: "Container[str]", links: "Iterable[str]") -> list[str]:
    """Return those names of links that gateways have in VLANs of bridges: `br0.100`."""
    parts = ((name, *name.rpartition(".")[::2]) for name in links)
    return [name for name, bridge, vlan in parts if bridge in bridges and vlan.isdecimal()]


def _is_gateway_link(sock: NetlinkSocket, link: Link, bridges: "Mapping[str, Link]") -> bool:
    """Return whether a link's other end is a port that we have made, on the bridge that it is named after."""
    if link.kind != "veth" or link.link_netnsid >= 0:
        return False
    port = link_peer(sock, link)
    bridge = bridges[link.name.rpartition(".")[0]]
    return port is not None and port.master == bridge.index and is_host_veth(port.name)
