"""What changes without an announcement, which a look now and then has to find.

That look is cheap as long as nothing has changed: it compares what it reads with what it read the last time.
"""

import os

from shibafu.lean.files import read_file
from shibafu.netfilter.generation import list_legacy_tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.networks.configured import ConfiguredNetwork

_GLOBAL = (
    "/proc/sys/net/bridge/bridge-nf-call-iptables",
    "/proc/sys/net/bridge/bridge-nf-call-ip6tables",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv6/conf/all/forwarding",
)
_OF_BRIDGE = (
    "/sys/class/net/{}/bridge/nf_call_iptables",
    "/sys/class/net/{}/bridge/nf_call_ip6tables",
)
_OF_GATEWAY = (
    "/proc/sys/net/ipv4/conf/{}/route_localnet",
    "/proc/sys/net/ipv4/conf/{}/rp_filter",
    "/proc/sys/net/ipv6/conf/{}/accept_ra",
    "/proc/sys/net/ipv6/conf/{}/disable_ipv6",
)


class QuietState:
    """What was read of each network the last time."""

    def __init__(self) -> None:
        self._switches: dict[str, list[bytes]] = {}
        self._leases: dict[str, list[str]] = {}

    def has_other_switches(self, network: "ConfiguredNetwork") -> bool:
        """Return whether a switch of a network is another than the last time; the first time it is."""
        bridge = network.bridge
        paths = list(_GLOBAL)
        if bridge is not None:
            paths += [path.format(bridge.bridge) for path in _OF_BRIDGE]
            paths += [path.format(bridge.gateway_link) for path in _OF_GATEWAY]
        read = [_read(path) for path in paths]
        is_other = self._switches.get(network.name) != read
        self._switches[network.name] = read
        return is_other

    def has_other_leases(self, network: "ConfiguredNetwork") -> bool:
        """Return whether a lease is gone that was there the last time; the first time that is assumed."""
        try:
            names = os.listdir(f"{network.data_dir}/{network.name}")
        except OSError:
            names = []
        former = self._leases.get(network.name)
        self._leases[network.name] = names
        return former is None or bool(set(former) - set(names))


def has_legacy_rules() -> bool:
    """Return whether iptables' legacy variant has rules, which it changes without a word."""
    try:
        return any(list_legacy_tables(version) for version in (4, 6))
    except OSError:
        return True


def _read(path: str) -> bytes:
    try:
        return read_file(path, 64) or b""
    except OSError:
        return b""
