"""The host's side of a network: the bridge, and the link that is the containers' gateway."""

from errno import EEXIST, ENODEV

from shibafu.bridge.attachment import calc_bridge_mac
from shibafu.bridge.config import BridgeConfig
from shibafu.cni.errors import INVALID_CONFIG, NETWORK_SETUP, NOT_AVAILABLE, CniError
from shibafu.cni.names import NETWORK_GROUPS, OPEN, STRICT, calc_isolate
from shibafu.lean.ip import Address, Cidr
from shibafu.netfilter.forwarding import (
    bridged_versions,
    enable_ipv6,
    ensure_forwarding,
    ensure_link_forwarding,
    is_link_forwarding,
    refuse_router_advertisements,
    routes_loopback,
)
from shibafu.netlink.address import addr_add, addr_list
from shibafu.netlink.constants import (
    DEVCONF_ACCEPT_RA,
    IF_OPER_UP,
    IFF_NOARP,
    IFF_PROMISC,
    RT_PRIORITY_ADDRCONF,
    RTPROT_KERNEL,
)
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import Link, link_by_name, link_list
from shibafu.netlink.link_requests import link_add_bridge, link_del, link_set
from shibafu.netlink.route import route_add, route_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import HOST, Fault, Resource
from shibafu.resource.record import parse_known_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request
    from shibafu.netlink.address import Addr
    from shibafu.netlink.socket import NetlinkRequest
    from shibafu.resource.view import View


class Bridge(Resource):
    """The bridge that a network's containers are on.

    Args:
        config: the network's configuration.
        mac: the hardware address that its containers know, as text; empty if none is known.
    """

    __slots__ = ("_config", "_mac", "is_new")
    scope = HOST

    def __init__(self, config: BridgeConfig, mac: str = "") -> None:
        self._config = config
        self._mac = mac
        # Whether this call has created it.
        self.is_new = False

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"bridge {self._config.bridge}"

    @classmethod
    def obstacle(cls, request: "Request", config: BridgeConfig) -> CniError | None:
        """See `Resource.obstacle`: another link of its name."""
        with NetlinkSocket() as sock:
            link = link_by_name(sock, config.bridge)
        if link is None or link.kind == "bridge":
            return None
        what = f'"{link.name}" already exists but is not a bridge'
        return CniError(NOT_AVAILABLE, what, 'choose another name for "bridge"')

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        from shibafu.bridge.resources.fabric_faults import find_bridge_faults

        return find_bridge_faults(view, self._config, self._mac)

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        config = self._config
        wanted: dict[str, object] = {"name": config.bridge, "state": "up", "arp": True, "acceptRA": False}
        for key, is_wanted in (("promiscMode", config.promisc_mode), ("internal", config.internal)):
            if is_wanted:
                wanted[key] = True
        if self._mac:
            wanted["mac"] = self._mac
        return wanted

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: a link of that name is something else than a bridge.
        """
        link, self.is_new = _find_or_create_bridge(view.sock, self._config)
        _ensure_state(view.sock, self._config, link, self.is_new)
        if self.is_new or not view.leaves_switches:
            _ensure_switches(view.sock, self._config, link, self.is_new)
        has_other_mac = bool(self._mac) and link.mac.hex(":") != self._mac
        if has_other_mac or link.flags & IFF_NOARP:
            view.sock.request(link_set(link.index, up=True, arp=True, mac=parse_known_mac(self._mac)))
        view.learn(link)
        return self.is_new

    def remove(self) -> None:
        """Delete the bridge if this call has created it, unless another call has put a port on it."""
        if not self.is_new:
            return
        with NetlinkSocket() as sock:
            link = link_by_name(sock, self._config.bridge)
            if link is not None and not link_list(sock, master=link.index):
                sock.request(link_del(link.index).ignoring(ENODEV))


class Gateway(Resource):
    """The link that a network's packets enter and leave the host by: the bridge, or one of its own in a VLAN.

    Rules know it by its group. With addresses, it is the containers' gateway, and the host forwards.

    Args:
        config: the network's configuration.
        bridge: the bridge.
        gateways: the addresses; empty where the host is not the gateway.
        ips: the container's addresses, which the host must route by this link.
        port: the attachment's link on the host: it alone does not keep a failed ADD from being undone.
        is_adding: whether a container is being attached; if not, addresses in the way of the gateways' are
            left to the administrator, whatever `forceAddress` says.
    """

    __slots__ = (
        "_added",
        "_bridge",
        "_config",
        "_former_group",
        "_gateways",
        "_has_new_link",
        "_ips",
        "_is_adding",
        "_port",
        "_removed",
    )
    scope = HOST

    def __init__(
        self,
        config: BridgeConfig,
        bridge: Bridge,
        gateways: list[Cidr],
        ips: list[Address],
        port: str,
        is_adding: bool,
    ) -> None:
        self._config = config
        self._bridge = bridge
        self._gateways = gateways
        self._ips = ips
        self._port = port
        self._is_adding = is_adding
        # What this call has changed: the link in the VLAN, addresses that are new and that were in the way.
        self._has_new_link = False
        self._former_group: int | None = None
        self._added: list[Cidr] = []
        self._removed: list[Addr] = []

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        from shibafu.bridge.resources.fabric_faults import find_gateway_faults

        routed = filter(self._has_route_to, self._ips)
        return find_gateway_faults(view, self._config, self._gateways, list(routed))

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"gateway link {self._config.gateway_link}"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`; `routes` are the addresses that the host's packets find by the link."""
        config = self._config
        wanted: dict[str, object] = {"link": config.gateway_link, "isolate": calc_isolate(config.isolate)}
        if config.vlan:
            wanted["acceptRA"] = False
        if config.is_gateway:
            wanted["addresses"] = [str(gateway) for gateway in self._gateways]
            wanted["forwarding"] = sorted({f"ipv{gateway.version}" for gateway in self._gateways})
            wanted["routes"] = [str(ip) for ip in self._ips if self._has_route_to(ip)]
        return wanted if config.is_gateway or not config.vlan else {}

    def _has_route_to(self, ip: Address) -> bool:
        """Return whether a gateway brings a route to an address, which else is elsewhere, or its own."""
        return any(gateway.contains(ip) and gateway.address != ip for gateway in self._gateways)

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: the link has other addresses, another network isolates it more strictly, or the kernel
                lacks a feature.
        """
        config, sock = self._config, view.sock
        bridge = view.link(config.bridge)
        if bridge is None or bridge.kind != "bridge":
            self._bridge.ensure(view)  # or it says why not
            bridge = view.link(config.bridge)
        link = self._ensure_vlan_link(sock, bridge) if config.vlan and bridge is not None else bridge
        if link is not None:
            if self._gateways:
                self._ensure_gateway(view, link, self._bridge.is_new and not config.vlan)
            # Once the addresses were accepted, and before there is a container.
            self._ensure_group(sock, link)
            view.learn(link)
        if config.isolate == STRICT:
            from shibafu.bridge.resources.isolation import ensure_others

            ensure_others(sock, config.bridge)
        return self._has_new_link or bool(self._added) or self._former_group is not None

    def _ensure_vlan_link(self, sock: NetlinkSocket, bridge: Link) -> Link | None:
        """Return the host's own port of the bridge in the VLAN; None where the host is not the gateway."""
        config = self._config
        if not config.is_gateway:
            return None
        from shibafu.bridge.resources.vlans import ensure_gateway_link

        link, self._has_new_link = ensure_gateway_link(
            sock, bridge, config.vlan, config.preserve_default_vlan
        )
        if link.inet6_conf(DEVCONF_ACCEPT_RA) != 0:
            refuse_router_advertisements(link.name)
        return link

    def _ensure_gateway(self, view: "View", link: Link, is_new: bool) -> None:
        gateways, sock = self._gateways, view.sock
        if not self._is_adding:
            from shibafu.bridge.resources.gateway_addresses import select_possible

            present = {(a.ip, a.prefix) for a in addr_list(sock, link.index)}
            gateways = select_possible(self._config, gateways, present)
        self._ensure_addresses(sock, link, gateways, is_new)
        if not is_new and link.up:
            ensure_own_routes(sock, link, gateways)
        for version in {gateway.version for gateway in self._gateways} if not view.leaves_switches else ():
            ensure_forwarding(version)
            if not is_link_forwarding(link, version):
                ensure_link_forwarding(link.name, version)

    def _ensure_group(self, sock: NetlinkSocket, link: Link) -> None:
        config = self._config
        if link.group == NETWORK_GROUPS[config.isolate]:
            return
        is_ours = bool(config.vlan) or link.mac == calc_bridge_mac(config.bridge)
        if is_ours or link.group or config.isolate:
            from shibafu.bridge.resources.isolation import ensure_group

            if ensure_group(sock, link, config, is_ours):
                self._former_group = link.group

    def _ensure_addresses(self, sock: NetlinkSocket, link: Link, gateways: list[Cidr], is_new: bool) -> None:
        """Give a link the addresses; one that is new has none."""
        present = {} if is_new else {(a.ip, a.prefix): a for a in addr_list(sock, link.index)}
        wanted = {(g.address.packed, g.prefix): g for g in gateways}
        missing = [gateway for key, gateway in wanted.items() if key not in present]
        if not missing:
            return
        if len(present) > len(wanted) - len(missing):
            from shibafu.bridge.resources.gateway_addresses import clear_conflicts

            others = [address for key, address in present.items() if key not in wanted]
            clear_conflicts(sock, self._config, link, missing, others, self._removed)
        requests = [addr_add(link.index, g.address.packed, g.prefix).ignoring(EEXIST) for g in missing]
        if not is_new and link.mac:
            # Somebody else's bridge becomes a gateway: from now on its hardware address must not change.
            requests.append(link_set(link.index, mac=link.mac))
        if any(g.version == 6 for g in missing):
            enable_ipv6(link.name)
        self._added = missing
        sock.request_all(requests)

    def remove(self) -> None:
        """Undo what this call has changed, unless other containers depend on it."""
        if self._former_group is not None:
            from shibafu.bridge.resources.isolation import restore_group

            restore_group(self._config, self._port, self._former_group)
        if self._has_new_link or self._added or self._removed:
            from shibafu.bridge.resources.gateway_addresses import undo_gateway

            undo_gateway(self._config, self._port, self._has_new_link, self._added, self._removed)


def needs_unasked_rules(config: BridgeConfig, versions: set[int]) -> bool:
    """Return whether a network may need rules that its configuration does not ask for.

    It does where containers would reach the host's 127.0.0.1, or FORWARD sees what stays on the bridge.

    Args:
        config: the network's configuration.
        versions: the families of its containers' addresses, each 4 or 6.
    """
    return routes_loopback(config.gateway_link) or bool(bridged_versions(config.bridge, versions))


def ensure_own_routes(sock: NetlinkSocket, link: Link, gateways: list[Cidr]) -> None:
    """Restore the routes that the kernel created with a link's addresses, if they were deleted.

    Raises:
        NetlinkError: the kernel refuses.
    """
    for gateway in gateways:
        if not has_own_route(sock, link, gateway):
            request = route_add(
                link.index,
                gateway.network.address.packed,
                gateway.prefix,
                source=gateway.address.packed if gateway.version == 4 else None,
                priority=RT_PRIORITY_ADDRCONF if gateway.version == 6 else None,
                # So that it goes with the address.
                protocol=RTPROT_KERNEL,
            )
            sock.request(request.ignoring(EEXIST))


def has_own_route(sock: NetlinkSocket, link: Link, gateway: Cidr) -> bool:
    """Return whether the route exists that the kernel creates with a gateway's address."""
    if gateway.prefix == gateway.address.bits:
        return True  # the route to the address itself is in the table of the kernel's own
    routes = route_list(sock, link.index, gateway.address.family)
    wanted = (gateway.network.address.packed, gateway.prefix)
    return any((route.dst, route.dst_prefix) == wanted and route.gateway is None for route in routes)


def _find_or_create_bridge(sock: NetlinkSocket, config: BridgeConfig) -> tuple[Link, bool]:
    """Return the network's bridge and whether this call created it.

    Raises:
        CniError: a link of that name is something else than a bridge.
    """
    link = link_by_name(sock, config.bridge)
    created = False
    if link is None:
        request = calc_bridge(config)
        try:
            # Another ADD may have been first.
            created = sock.request(request.ignoring(EEXIST)) == 0
        except NetlinkError as error:
            from shibafu.bridge.resources.vlans import explain_vlan_error

            raise explain_vlan_error(error) from None
        link = link_by_name(sock, config.bridge)
    if link is None:
        raise CniError(NETWORK_SETUP, f'failed to create bridge "{config.bridge}": it vanished')
    if link.kind != "bridge":
        raise CniError(
            INVALID_CONFIG,
            f'failed to create bridge "{link.name}": "{link.name}" already exists but is not a bridge',
            'choose another name for "bridge"',
        )
    return link, created


def calc_bridge(config: BridgeConfig) -> "NetlinkRequest":
    """Return the request that makes a network's bridge.

    A bridge whose address is not set takes over its lowest port's, and changes it when that leaves: for the
    containers, their gateway would be gone for as long as their caches live.
    """
    return link_add_bridge(
        config.bridge,
        mac=calc_bridge_mac(config.bridge),
        mtu=config.mtu or None,
        vlan_filtering=True if config.has_vlans else None,
        # In a VLAN, the network's link is another one.
        group=NETWORK_GROUPS[OPEN if config.vlan else config.isolate],
    )


def _ensure_switches(sock: NetlinkSocket, config: BridgeConfig, link: Link, created: bool) -> None:
    if link.inet6_conf(DEVCONF_ACCEPT_RA) != 0:
        refuse_router_advertisements(link.name)
    if config.internal:
        from shibafu.bridge.resources.internal import close_bridge, is_closed

        if created or not is_closed(link, [(a.ip, a.prefix) for a in addr_list(sock, link.index)]):
            close_bridge(link.name)


def _ensure_state(sock: NetlinkSocket, config: BridgeConfig, link: Link, created: bool) -> None:
    if not created and link.operstate != IF_OPER_UP:
        # It has no port, so that its address can be pinned without disturbing neighbours' caches. Its
        # first port would change it.
        sock.request(link_set(link.index, up=True, mac=link.mac))
    if config.promisc_mode and not link.flags & IFF_PROMISC:
        sock.request(link_set(link.index, promisc=True))
