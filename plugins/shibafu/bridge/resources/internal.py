"""`internal`: containers reach each other, and neither the host nor what lies beyond it.

All that their ports bring in and the bridge hands to the host is dropped by the network's rules, and nothing
is handed over by the ports themselves. Should the rules be flushed, switches of the bridge keep out most of
it until they are there again.
"""

from shibafu.bridge.resources.port_table import PortTable
from shibafu.cni.names import INTERNAL_GROUP
from shibafu.lean.sysctl import try_sysctl
from shibafu.netfilter.port_rulesets import calc_internal
from shibafu.netlink.constants import DEVCONF_DISABLE_IPV6, IPV4_DEVCONF_RP_FILTER
from shibafu.netlink.link import Link
from shibafu.netlink.link_requests import link_set, link_set_port
from shibafu.resource.base import NETWORK, Fault
from shibafu.resource.records import link_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.netfilter.ruleset import Ruleset
    from shibafu.netlink.socket import NetlinkRequest

# Frames to the addresses that IEEE 802.1D reserves, 01:80:c2:00:00:00 to 0f, get to the host by the port they
# came in from, and those of LLDP pass no hook of the bridge. A port can forward them as it does others, save
# 01, which is dropped anyway (br_handle_frame in net/bridge/br_input.c).
_FORWARD_RESERVED = 0xFFFD
_LINK_LOCAL = b"\xfe\x80"


class InternalIsolation(PortTable):
    """The rules that keep an internal network from the host; see `PortTable`."""

    __slots__ = ()
    scope = NETWORK
    nft_advice = "install nftables, which internal networks need"

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the rules that keep the network from the host"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`; `group` is the interface group whose frames the host does not get."""
        return {"group": INTERNAL_GROUP}

    def _calc_ruleset(self) -> "Ruleset":
        return calc_internal(self._state.network)

    @property
    def _hint(self) -> str:
        return "internal"

    def _calc_fault(self, seen: str) -> Fault:
        return Fault(
            f"the rules that keep internal network {self._state.network} from the host are missing",
            f"{seen}; the next ADD of this network restores them",
        )

    def _is_needed(self) -> bool:
        from shibafu.bridge.resources.occupancy import find_lost_ports

        state, port = self._state, self._port
        links = (link for link in state.attachments() if link != port and link_exists(link))
        is_known = any(state.read_attachment(link).is_internal for link in links)
        return is_known or bool(find_lost_ports(state, self._bridge, port))


def calc_internal_port(port: str) -> "list[NetlinkRequest]":
    """Return the requests that keep what a port brings in from the host."""
    return [link_set(port, group=INTERNAL_GROUP), link_set_port(port, group_fwd_mask=_FORWARD_RESERVED)]


def calc_open_port(port: str) -> "list[NetlinkRequest]":
    """Return the requests that let the host get it again."""
    return [link_set(port, group=0), link_set_port(port, group_fwd_mask=0)]


def is_internal_port(link: Link) -> bool:
    """Return whether a port is as `calc_internal_port` leaves it."""
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
