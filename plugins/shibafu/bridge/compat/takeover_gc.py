"""GC of what the reference's bridge plugin attached, and of attachments whose records were lost.

Neither has a record that tells whose it is. A port of the bridge is known by what is at its other end: an
interface of some name with addresses, which have leases that say whose they are (or, with another IPAM
plugin, masquerading chains that do). What cannot be known that way belongs to somebody else, and stays.
"""

from shibafu.bridge.compat.reference import HOOK, list_reference_containers, teardown_reference_masquerade
from shibafu.bridge.compat.reference_nft import ReferenceTables
from shibafu.bridge.config import BridgeConfig, is_valid_link_name
from shibafu.cni.errors import CniError
from shibafu.cni.names import calc_host_veth, is_host_veth
from shibafu.cni.request import Request
from shibafu.lean.files import read_file
from shibafu.lean.ip import Address
from shibafu.netfilter.listing import Listing
from shibafu.netlink.link import Link, link_by_name, link_list
from shibafu.netlink.link_removal import link_del_all
from shibafu.netlink.peer_netns import addr_list_inside, peer_inside
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import Resource
from shibafu.resource.teardown import Teardown

Owner = tuple[str, str]

_DATA_DIR = "/var/lib/cni/networks"
_LEASE_SIZE = 4096


class ReferenceAttachments(Resource):
    """Ports and rules of attachments that are not listed as valid.

    Args:
        request: the call.
        config: its configuration.
        valid: (container ID, interface) of each valid attachment.
        known: the links on the host that are in records or in the list.
    """

    __slots__ = ("_config", "_known", "_request", "_valid")

    def __init__(self, request: Request, config: BridgeConfig, valid: "list[Owner]", known: set[str]) -> None:
        self._request = request
        self._config = config
        self._valid = set(valid)
        self._known = known

    def remove(self) -> None:
        """See `Resource.remove`.

        Raises:
            CniError: something could not be removed, or a port's other end not be looked at: then addresses
                of such attachments must not be released either.
        """
        config, env = self._config, self._request.env
        teardown = Teardown()
        listing = Listing(env, HOOK) if config.ip_masq else None
        chains = list_reference_containers(listing.lines, config.network) if listing is not None else {}
        gone = self._remove_links(chains, teardown)
        if listing is not None:
            unlisted = chains.keys() - {container_id for container_id, _ in self._valid}
            teardown.do(teardown_reference_masquerade, listing, config.network, unlisted)
        tables = ReferenceTables(env)
        if config.ip_masq:
            teardown.do(tables.teardown_masquerade_besides, config.network, self._valid)
        if config.mac_spoof_check:
            teardown.do(tables.teardown_spoof_checks, gone)
        teardown.finish()

    def _remove_links(self, chains: dict[str, set[str]], teardown: Teardown) -> "list[Owner]":
        """Delete the ports of unlisted attachments; return whose are gone."""
        sources = {address: container_id for container_id in chains for address in chains[container_id]}
        stale: list[tuple[Link, Owner]] = []
        with NetlinkSocket() as sock:
            for port in _list_ports(sock, self._config.bridge, self._known):
                teardown.do(self._collect_port, sock, port, sources, stale)
            failures = link_del_all(sock, [port for port, _ in stale])
        teardown.add(failures.values())
        return [owner for port, owner in stale if port.name not in failures]

    def _collect_port(
        self, sock: NetlinkSocket, port: Link, sources: dict[str, str], stale: "list[tuple[Link, Owner]]"
    ) -> None:
        """Add a port and its owner to those that are stale, if it is of this network and not valid."""
        inside = peer_inside(sock, port)
        if inside is None:
            return
        addresses = [str(Address.from_packed(address.ip)) for address in addr_list_inside(sock, port)]
        owner = _find_owner(self._request, self._config, inside.name, addresses, sources)
        if owner is None or owner in self._valid:
            return
        if is_host_veth(port.name) and port.name != calc_host_veth(self._config.network, *owner):
            return
        stale.append((port, owner))


def _list_ports(sock: NetlinkSocket, bridge_name: str, known: set[str]) -> list[Link]:
    """Return the ports of the bridge that lead into other namespaces and that nobody knows."""
    bridge = link_by_name(sock, bridge_name) if is_valid_link_name(bridge_name) else None
    ports = link_list(sock, master=bridge.index) if bridge is not None else []
    return [
        port for port in ports if port.kind == "veth" and port.link_netnsid >= 0 and port.name not in known
    ]


def _find_owner(
    request: Request, config: BridgeConfig, ifname: str, addresses: list[str], sources: dict[str, str]
) -> Owner | None:
    """Return whose interface of this network it is; None when it is nobody's."""
    directory = f"{_find_data_dir(request)}/{config.network}"
    for address in addresses:
        container_id, _, leased_ifname = _read_lease(f"{directory}/{address}").partition("\n")
        # Old releases of host-local did not note the interface.
        if container_id and leased_ifname.strip() in (ifname, ""):
            return container_id.strip(), ifname
    for address in addresses:
        if address in sources:
            return sources[address], ifname
    return None


def _find_data_dir(request: Request) -> str:
    try:
        return request.config.section("ipam").text("dataDir") or _DATA_DIR
    except CniError:
        return _DATA_DIR


def _read_lease(path: str) -> str:
    """Return what host-local writes for an address: the container's ID then the interface."""
    try:
        return (read_file(path, _LEASE_SIZE) or b"").decode("utf-8", "replace")
    except OSError:
        return ""
