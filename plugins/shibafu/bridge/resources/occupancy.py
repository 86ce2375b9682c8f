"""Whether a network has containers: by its records, and by the kernel for those whose records were lost."""

from shibafu.bridge.config import is_valid_link_name
from shibafu.bridge.resources.rules_record import recorded_bridges
from shibafu.cni.names import is_host_veth
from shibafu.netlink.link import Link, link_by_index, link_by_name, link_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.records import NetworkState, link_exists


def is_in_use(state: NetworkState, bridge: str, besides: str = "") -> bool:
    """Return whether a network has containers, recorded or not; see `find_lost_ports`."""
    return state.is_in_use(besides) or bool(find_lost_ports(state, bridge, besides))


def find_lost_ports(state: NetworkState, bridge: str, besides: str = "") -> list[str]:
    """Return the ports on a network's bridges of containers that no record tells of, as if they were its own.

    Those of another network whose records were lost, too, cannot be told from them.

    Args:
        state: the network's records.
        bridge: the bridge that the configuration names; the record of the rules may tell of others.
        besides: the link of a container that is about to go.
    """
    names = dict.fromkeys([bridge, *recorded_bridges(state.read_rules())])
    with NetlinkSocket() as sock:
        ports = [port for name in names if is_valid_link_name(name) for port in _list_ports(sock, name)]
    # A port has its record before it is made, and until it is gone.
    return [port for port in ports if port != besides and not state.is_recorded(port) and link_exists(port)]


def _list_ports(sock: NetlinkSocket, name: str) -> list[str]:
    """Return the ports of a bridge, or of that of a gateway's link in a VLAN, which may be containers'."""
    link = link_by_name(sock, name)
    if link is None:
        return []
    bridge = _find_bridge(sock, link)
    ports = link_list(sock, master=bridge) if bridge else []
    # The other end of a gateway's link in a VLAN is in the host's own namespace.
    return [port.name for port in ports if is_host_veth(port.name) and port.link_netnsid >= 0]


def _find_bridge(sock: NetlinkSocket, link: Link) -> int:
    """Return the index of the bridge that a link is, or that its other end is a port of; 0 for none."""
    if link.kind == "bridge":
        return link.index
    port = link_by_index(sock, link.peer) if link.peer else None
    return port.master if port is not None else 0
