"""Whether a network has containers: by its records, and by the kernel for those whose records were lost."""

from _socket import if_nametoindex

from shibafu.bridge.resources.rules_record import recorded_bridges
from shibafu.cni.names import is_host_veth
from shibafu.netlink.link import link_by_name, link_list, link_peer
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.records import NetworkState, link_exists


def is_in_use(
    state: NetworkState, bridge: str, besides: str = "", rules: dict[str, object] | None = None
) -> bool:
    """Return whether a network has containers, recorded or not; see `find_lost_ports`."""
    return state.is_in_use(besides) or bool(find_lost_ports(state, bridge, besides, rules))


def find_lost_ports(
    state: NetworkState, bridge: str, besides: str = "", rules: dict[str, object] | None = None
) -> list[str]:
    """Return the ports on a network's bridges of containers without a record, as if they were its own.

    Those of another network whose records were lost, too, cannot be told from them.

    Args:
        state: the network's records.
        bridge: the bridge that the configuration names; the record of the rules may name others.
        besides: the link of a container that is about to go.
        rules: the record of the rules; None to have it read.
    """
    others = dict.fromkeys(recorded_bridges(state.read_rules() if rules is None else rules))
    others.pop(bridge, None)
    with NetlinkSocket() as sock:
        masters = [_find_index(bridge), *(_find_bridge(sock, name) for name in others)]
        links = [link for master in masters if master for link in link_list(sock, master=master)]
    # The other end of a gateway's link in a VLAN is in the host's own namespace.
    ports = [link.name for link in links if link.link_netnsid >= 0 and is_host_veth(link.name)]
    # A port has its record before it is made, and until it is gone.
    return [port for port in ports if port != besides and not state.is_recorded(port) and link_exists(port)]


def _find_index(name: str) -> int:
    """Return the index of a link; 0 for none. Nothing but a bridge has ports."""
    try:
        return if_nametoindex(name)
    except (OSError, ValueError):
        return 0  # a configuration that is to be refused may name anything


def _find_bridge(sock: NetlinkSocket, name: str) -> int:
    """Return the index of the bridge that a link is, or that its other end is a port of; 0 for none."""
    link = link_by_name(sock, name)
    if link is None or link.kind == "bridge":
        return link.index if link is not None else 0
    port = link_peer(sock, link)
    return port.master if port is not None else 0
