"""What there is of a network: its configuration, the kernel's links and rules, leases, cached results.

Attachments come from two sides: the records that shibafu-bridge keeps in /run, whichever runtime called
it, and the results that runtimes keep, whichever plugin made them. So networks show alike whether cnitool,
Podman or this command attached the containers.
"""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from shibafu.bridge.resources.active_uplink import has_outage
from shibafu.bridge.resources.fabric_faults import find_forwarding
from shibafu.cni.errors import IO_FAILURE, CniError
from shibafu.cni.names import ISOLATED_GROUP, NETWORK_GROUPS, STRICT
from shibafu.networks.configured import ConfiguredNetwork
from shibafu.networks.gateway_place import GatewayPlace
from shibafu.networks.kernel import Kernel, LinkState, RouteTo, Traffic
from shibafu.networks.leases import count_usable, open_pool
from shibafu.networks.overlay_part import OverlayPart
from shibafu.networks.pausing import PauseState
from shibafu.networks.rules import CountedRule
from shibafu.resource.identity import has_vanished
from shibafu.resource.record import ADDRESSED, CLAIMED, COMPLETE, LEAVING, Record
from shibafu.resource.records import NetworkState
from shibafu.runtime.cache import CachedAttachment, cache_list
from shibafu_ipam.pool import PoolLease

GONE = "namespace gone"
MISSING = "link missing"
STRAY = "not on the bridge"
# An interface whose other end is not a link of the host, such as macvlan's.
UNPAIRED = "no link on the host"
# What a call is doing, or was when it was killed.
ATTACHING = "being attached"
DETACHING = "being detached"
_PHASES = {CLAIMED: ATTACHING, ADDRESSED: ATTACHING, LEAVING: DETACHING}

# The source of a container: shibafu-bridge's records, or a runtime's cache.
RECORD = "record"
CACHE = "cache"


@dataclass(frozen=True)
class ResourceFault:
    """What is wrong with a resource, in words, and what to do about it where a repair does not help."""

    what: str
    advice: str


@dataclass(frozen=True)
class ResourceState:
    """A resource of a network or of a container: its kind, what it is to be, and what is wrong with it."""

    resource: str
    attributes: dict[str, Any]
    faults: list[ResourceFault]


@dataclass(frozen=True)
class Endpoint:
    """A container on a network.

    Args:
        container_id: the container.
        ifname: its link inside the container.
        netns: the path of its namespace; empty when unknown.
        host_link: the other end of the link, on the host; empty when unknown.
        mac: the hardware address of the container's link.
        addresses: its addresses with their prefixes.
        state: `up`, `down`, `no carrier`, or what is wrong.
        traffic: as the container sees it; None when there is no link.
        sources: where it is recorded: RECORD, CACHE.
        resources: what it is made of; empty also when nobody looked.
        default_routes: the families, `ipv4` and `ipv6`, that it has a default route for, and whether that is
            the one of the container that counts; empty also when nobody looked.
    """

    container_id: str
    ifname: str
    netns: str
    host_link: str
    mac: str
    addresses: list[str]
    state: str
    traffic: Traffic | None
    sources: list[str]
    resources: list[ResourceState] = field(default_factory=list)
    default_routes: dict[str, bool] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it on its network."""
        return self.container_id, self.ifname


@dataclass(frozen=True)
class BridgeState:
    """A network's bridge; its addresses are the gateways, isolated is the whole network, perhaps strictly."""

    name: str
    state: str
    mac: str
    mtu: int
    addresses: list[str]
    isolated: bool | str
    traffic: Traffic | None


@dataclass(frozen=True)
class SubnetUse:
    """A range of addresses: how many there are, and how many of them are given out."""

    subnet: str
    first: str
    last: str
    gateway: str
    usable: int
    used: int

    @property
    def free(self) -> int:
        """How many can still be given out."""
        return max(0, self.usable - self.used)


@dataclass(frozen=True)
class NetworkView:
    """Everything about a network.

    Args:
        name: its name.
        path: its configuration file.
        version: the CNI version that its plugins are called with.
        plugins: its plugins.
        bridge: its bridge; None when no plugin of its chain is one.
        subnets: its addresses.
        endpoints: its containers.
        other_ports: ports of the bridge that nobody here knows.
        rules: its rules; empty also when they were not asked for.
        is_forwarding: whether the host forwards packets, by family.
        problem: why its configuration would be refused; empty when it would not.
        resources: what its containers share; empty also when nobody looked.
        paused: until when, by whom and since when it is paused; None if it is not.
        broken: records, cached results and leases that name no container, in words.
        overlay: of an overlay network the part of this host, if that is known.
        shared_gateway: where the gateway is that hosts share; None if they do not.
        advice: what to do about the problem, for people.
    """

    name: str
    path: str
    version: str
    plugins: list[str]
    bridge: BridgeState | None
    subnets: list[SubnetUse]
    endpoints: list[Endpoint]
    other_ports: list[str] = field(default_factory=list)
    rules: list[CountedRule] = field(default_factory=list)
    is_forwarding: dict[str, bool] = field(default_factory=dict)
    problem: str = ""
    resources: list[ResourceState] = field(default_factory=list)
    paused: PauseState | None = None
    broken: list[str] = field(default_factory=list)
    overlay: OverlayPart | None = None
    shared_gateway: GatewayPlace | None = None
    advice: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        document = asdict(self)
        del document["advice"]
        for shown, use in zip(document["subnets"], self.subnets, strict=True):
            shown["free"] = use.free
        renamed: dict[str, Any] = _rename(document)
        return renamed


class Inspector:
    """Looks at networks; the kernel's dumps are made once for all of them.

    Args:
        kernel: the host's namespace.
        cache_dir: the results that runtimes keep.
    """

    def __init__(self, kernel: Kernel, cache_dir: str) -> None:
        self._kernel = kernel
        self._links = kernel.links()
        self._addresses = kernel.addresses()
        self._cache_dir = cache_dir

    def inspect(self, network: ConfiguredNetwork, rules: list[CountedRule] | None = None) -> NetworkView:
        """Return what there is of a network; `rules` are put in as they are."""
        broken: list[CniError] = []
        endpoints = self.find_endpoints(network, broken)
        leases = open_pool(network).list(broken)
        known = {endpoint.host_link for endpoint in endpoints}
        bridge = network.bridge
        ports = self._ports(bridge.bridge) if bridge is not None else []
        return NetworkView(
            name=network.name,
            path=network.config.path,
            version=network.config.cni_version,
            plugins=network.types,
            bridge=self._bridge_state(network),
            subnets=calc_subnet_uses(network, leases),
            endpoints=endpoints,
            other_ports=sorted(port.name for port in ports if port.name not in known),
            rules=rules or [],
            is_forwarding=find_forwarding({subnet.version for subnet in network.subnets}),
            problem=network.problem,
            advice=network.advice,
            paused=PauseState.of_network(network.name),
            broken=[error.msg for error in broken],
            overlay=network.overlay.look(self._routes) if network.overlay is not None else None,
            shared_gateway=self._find_shared_gateway(network),
        )

    def _find_shared_gateway(self, network: ConfiguredNetwork) -> GatewayPlace | None:
        bridge = network.bridge
        if bridge is None or bridge.shared_gateway is None:
            return None
        shared = bridge.shared_gateway
        links = [self._links.get(name) for name in (bridge.gateway_link, *shared.tracked)]
        present = self._addresses.get(links[0].index, []) if links[0] is not None else []
        has_links = all(link is not None and link.state == "up" for link in links)
        has_links = has_links and not has_outage(bridge.bridge)
        return GatewayPlace.find(shared, {address.ip.packed for address in present}, has_links)

    @cached_property
    def _routes(self) -> list[RouteTo]:
        return self._kernel.routes()

    def find_endpoints(
        self, network: ConfiguredNetwork, broken: list[CniError] | None = None
    ) -> list[Endpoint]:
        """Return a network's containers, by container and interface.

        Args:
            network: the network.
            broken: takes the records and cached results that name no container.
        """
        broken = [] if broken is None else broken
        state = NetworkState(network.name)
        records = {link: state.read_attachment(link) for link in state.attachments()}
        by_owner = {record.owner: link for link, record in records.items() if record.owner is not None}
        broken += find_broken_records(network.name)
        listed = cache_list(network.name, directory=self._cache_dir, broken=broken)
        cached = {(c.container_id, c.ifname): c for c in listed}
        endpoints = []
        for owner in sorted(by_owner.keys() | cached.keys()):
            link = by_owner.get(owner, "")
            endpoints.append(self._endpoint(network, owner, link, records.get(link), cached.get(owner)))
        return endpoints

    def _endpoint(
        self,
        network: ConfiguredNetwork,
        owner: tuple[str, str],
        host_link: str,
        record: Record | None,
        cached: CachedAttachment | None,
    ) -> Endpoint:
        result: dict[str, Any] = (cached.result if cached is not None else None) or {}
        interfaces = [i for i in result.get("interfaces") or [] if isinstance(i, dict)]
        own = next((i for i in interfaces if i.get("sandbox") and i.get("name") == owner[1]), {})
        known = record or Record(*owner, phase=COMPLETE)
        netns = known.netns or (cached.netns if cached is not None else "")
        has_ended = has_vanished(netns) or known.has_ended() or (cached is not None and cached.has_ended())
        bridge = network.bridge.bridge if network.bridge is not None else ""
        if not host_link:
            # The reference's veths have random names, which only the result tells.
            on_host = [str(i.get("name")) for i in interfaces if not i.get("sandbox")]
            host_link = next((name for name in on_host if name != bridge), "")
        link = self._links.get(host_link)
        bridge = known.bridge or bridge
        addresses = list(map(str, known.addresses)) or [i.get("address") for i in result.get("ips") or []]
        return Endpoint(
            *owner,
            netns=netns,
            host_link=host_link,
            mac=str(own.get("mac") or known.mac),
            addresses=[str(address) for address in addresses],
            state=GONE
            if has_ended
            else _PHASES.get(known.phase) or self._describe_state(link, host_link, bridge),
            traffic=_turn(link.traffic) if link is not None else None,
            sources=[RECORD] * (record is not None) + [CACHE] * (cached is not None),
        )

    def _describe_state(self, link: LinkState | None, host_link: str, bridge: str) -> str:
        if link is None:
            return MISSING if host_link or bridge else UNPAIRED
        master = self._links.get(bridge)
        if bridge and (master is None or link.master != master.index):
            return STRAY
        return link.state

    def _ports(self, bridge: str) -> list[LinkState]:
        master = self._links.get(bridge)
        return [link for link in self._links.values() if master is not None and link.master == master.index]

    def _bridge_state(self, network: ConfiguredNetwork) -> BridgeState | None:
        if network.bridge is None:
            return None
        name = network.bridge.bridge
        link = self._links.get(name)
        if link is None:
            return BridgeState(name, "missing", "", 0, [], False, None)
        gateway = self._links.get(network.bridge.gateway_link, link)
        addresses = [str(address) for address in self._addresses.get(gateway.index, [])]
        isolated = STRICT if gateway.group == NETWORK_GROUPS[STRICT] else gateway.group == ISOLATED_GROUP
        return BridgeState(name, link.state, link.mac, link.mtu, addresses, isolated, link.traffic)


def find_broken_records(network: str) -> list[CniError]:
    """Return the records that name no container, such as one that a killed call left half written."""
    state = NetworkState(network)
    return [
        CniError(
            IO_FAILURE, f"{state.directory}/{link} names no container", "`shibafu network gc` removes it"
        )
        for link in state.attachments()
        # What is not there any more, or was being written, is not broken.
        if state.read_attachment(link).owner is None and state.remembers(link)
    ]


def calc_subnet_uses(network: ConfiguredNetwork, leases: list[PoolLease]) -> list[SubnetUse]:
    """Return how much of each range of a network is given out."""
    return [
        SubnetUse(
            subnet=str(one.subnet),
            first=str(one.address_at(one.first)),
            last=str(one.address_at(one.last)),
            gateway=str(one.gateway),
            usable=count_usable(one),
            used=sum(one.contains(lease.address) for lease in leases),
        )
        for ranges in network.range_sets
        for one in ranges.ranges
    ]


def _rename(value: Any) -> Any:
    """Return a JSON value whose keys are spelt as the specification spells its own: containerID, hostLink."""
    if isinstance(value, list):
        return [_rename(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {_spell(key): _rename(item) for key, item in value.items()}


def _spell(key: str) -> str:
    first, *rest = key.removeprefix("is_").split("_")
    return first + "".join("ID" if word == "id" else word.capitalize() for word in rest)


def _turn(traffic: Traffic) -> Traffic:
    """Return the counters of the other end of a cable."""
    return Traffic(traffic.tx_bytes, traffic.tx_packets, traffic.rx_bytes, traffic.rx_packets)
