"""`internal`: containers reach each other, and neither the host nor what lies beyond it.

All that their ports bring in and the bridge hands to the host is dropped by the network's barrier, and
nothing is handed over by the ports themselves. Should the barrier be flushed, switches of the bridge keep
out most of it until it is there again.
"""

from shibafu.cni.names import INTERNAL_GROUP
from shibafu.netfilter.forwarding import try_sysctl
from shibafu.netfilter.nftables import Nftables
from shibafu.netfilter.port_rulesets import calc_internal
from shibafu.netlink.constants import DEVCONF_DISABLE_IPV6, IPV4_DEVCONF_RP_FILTER
from shibafu.netlink.link import Link, link_set, link_set_port
from shibafu.resource.base import NETWORK, Fault, Resource
from shibafu.resource.records import NetworkState, link_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shibafu.bridge.config import BridgeConfig
    from shibafu.cni.errors import CniError
    from shibafu.cni.request import Request as Call
    from shibafu.netlink.socket import Request
    from shibafu.resource.view import View

# Frames to the addresses that IEEE 802.1D reserves, 01:80:c2:00:00:00 to 0f, get to the host by the port they
# came in from, and those of LLDP pass no hook of the bridge. A port can forward them as it does others, save
# 01, which is dropped anyway (br_handle_frame in net/bridge/br_input.c).
_FORWARD_RESERVED = 0xFFFD
_LINK_LOCAL = b"\xfe\x80"


class HostBarrier(Resource):
    """What keeps an internal network from the host.

    Args:
        state: the network's records.
        bridge: the bridge that the configuration names.
        port: the link on the host for whose sake it is made or removed.
        env: the environment.
    """

    __slots__ = ("_bridge", "_env", "_is_removable", "_port", "_state")
    is_removal_barrier = True
    scope = NETWORK

    def __init__(self, state: NetworkState, bridge: str, port: str, env: "Mapping[str, str]") -> None:
        self._state = state
        self._bridge = bridge
        self._port = port
        self._env = env
        self._is_removable = True

    @classmethod
    def obstacle(cls, request: "Call", config: "BridgeConfig") -> "CniError | None":
        """See `Resource.obstacle`."""
        from shibafu.resource.obstacles import find_missing_program

        return find_missing_program("nft", request.env, "an internal network needs it: install nftables")

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        network = self._state.network
        listing = view.once(("barrier", network), open_barrier(network, self._env).read)
        difference = listing.find_difference(calc_internal(network))
        if not difference:
            return []
        return [
            Fault(
                f"the rules that keep internal network {network} from the host are missing",
                f"nftables: {difference}; the next ADD of this network restores it",
            )
        ]

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the barrier to the host"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`; `group` is the interface group whose frames the host does not get."""
        return {"group": INTERNAL_GROUP}

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`. The port's link is there."""
        self._is_removable = False
        barrier = open_barrier(self._state.network, self._env)
        self._is_removable = True
        is_locked_here = self._state.hold_shared()
        try:
            ensure_barrier(self._state, barrier)
        finally:
            if is_locked_here:
                self._state.unlock()
        return False

    def remove(self) -> None:
        """See `Resource.remove`. Where nothing could be made, nothing is."""
        if self._is_removable:
            release_barrier(self._state, self._bridge, self._port, self._env)


def calc_internal_port(port: str) -> "list[Request]":
    """Return the requests that put a port behind the barrier."""
    return [link_set(port, group=INTERNAL_GROUP), link_set_port(port, group_fwd_mask=_FORWARD_RESERVED)]


def calc_open_port(port: str) -> "list[Request]":
    """Return the requests that take a port out from behind it."""
    return [link_set(port, group=0), link_set_port(port, group_fwd_mask=0)]


def is_internal_port(link: Link) -> bool:
    """Return whether a port is behind the barrier, once that is there."""
    mask = link.port.group_fwd_mask if link.port is not None else 0
    return link.group == INTERNAL_GROUP and mask == _FORWARD_RESERVED


def close_bridge(bridge: str) -> None:
    """Have a bridge take in as little as switches can say: no IPv6, no sources that are not behind it."""
    try_sysctl(f"/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6", "1")
    try_sysctl(f"/proc/sys/net/ipv4/conf/{bridge}/rp_filter", "1")


def is_closed(bridge: Link, addresses: "Iterable[tuple[bytes, int]]") -> bool:
    """Return whether a bridge is as `close_bridge` leaves it, or has to be open.

    Args:
        bridge: the bridge.
        addresses: its own; with others than link-local ones it is another network's gateway.
    """
    if any(not ip.startswith(_LINK_LOCAL) for ip, _ in addresses):
        return True
    has_ipv6 = bridge.inet6_conf(DEVCONF_DISABLE_IPV6) == 0
    return not has_ipv6 and bridge.inet_conf(IPV4_DEVCONF_RP_FILTER) == 1


def open_barrier(network: str, env: "Mapping[str, str]") -> Nftables:
    """Return what makes and removes the barrier between the host and a network's containers.

    Raises:
        CniError: nft is not installed.
    """
    return Nftables(calc_internal(network), env)


def ensure_barrier(state: NetworkState, barrier: Nftables) -> None:
    """Make a network's barrier, with a port's link there and the network's lock held, as `ensure_guard`.

    Raises:
        CniError: nft refused.
    """
    state.hand_down_lock(True)
    try:
        barrier.repair()
    finally:
        state.hand_down_lock(False)


def release_barrier(state: NetworkState, bridge: str, port: str, env: "Mapping[str, str]") -> None:
    """Remove the barrier when no port but this one needs it.

    Raises:
        CniError: nft is not installed, or refused.
    """
    from shibafu.bridge.resources.occupancy import find_lost_ports

    # Between looking for other links and removing the table, none may come.
    state.lock_exclusive()
    try:
        if not _is_needed(state, port) and not find_lost_ports(state, bridge, port):
            open_barrier(state.network, env).teardown()
    finally:
        state.unlock()


def _is_needed(state: NetworkState, besides: str) -> bool:
    links = (link for link in state.attachments() if link != besides and link_exists(link))
    return any(state.read_attachment(link).is_internal for link in links)
