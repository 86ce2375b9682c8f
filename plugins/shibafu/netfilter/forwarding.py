"""The kernel's switches of links: forwarding, and IPv6 (Documentation/networking/ip-sysctl.rst)."""

from shibafu.cni.errors import NETWORK_SETUP, CniError
from shibafu.lean.sysctl import read_sysctl, try_sysctl, write_sysctl
from shibafu.netlink.constants import DEVCONF_FORWARDING, IPV4_DEVCONF_FORWARDING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.netlink.link import Link

_SWITCH = {
    4: "/proc/sys/net/ipv4/ip_forward",
    6: "/proc/sys/net/ipv6/conf/all/forwarding",
}
# What br_netfilter does in a namespace, or with one bridge.
_BRIDGED = {
    4: ("/proc/sys/net/bridge/bridge-nf-call-iptables", "/sys/class/net/{}/bridge/nf_call_iptables"),
    6: ("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "/sys/class/net/{}/bridge/nf_call_ip6tables"),
}
_ROUTE_LOOPBACK = "/proc/sys/net/ipv4/conf/{}/route_localnet"


def ensure_forwarding(version: int) -> None:
    """Let the host forward packets of one family; `version` is 4 or 6.

    Raises:
        CniError: NETWORK_SETUP when the switch cannot be set.
    """
    try:
        write_sysctl(_SWITCH[version], "1")
    except OSError as error:
        raise CniError(
            NETWORK_SETUP, f"failed to enable forwarding: {error}", f"set {_SWITCH[version]} to 1"
        ) from None


def ensure_link_forwarding(link: str, version: int) -> None:
    """Let the host forward what one link receives; after `ensure_forwarding`, which may set all links'.

    Raises:
        CniError: NETWORK_SETUP when the switch cannot be set.
    """
    path = f"/proc/sys/net/ipv{version}/conf/{link}/forwarding"
    try:
        write_sysctl(path, "1")
    except OSError as error:
        raise CniError(
            NETWORK_SETUP, f"failed to enable forwarding of {link}: {error}", f"set {path} to 1"
        ) from None


def is_forwarding(version: int) -> bool:
    """Return whether the host forwards packets of one family."""
    try:
        return read_sysctl(_SWITCH[version]) != "0"
    except OSError:
        return False


def is_link_forwarding(link: "Link", version: int) -> bool:
    """Return whether the host forwards what a link receives; it may be off for one link alone."""
    conf = link.inet_conf(IPV4_DEVCONF_FORWARDING) if version == 4 else link.inet6_conf(DEVCONF_FORWARDING)
    return bool(conf)


def bridged_versions(bridge: str, versions: "Iterable[int]" = (4, 6)) -> list[int]:
    """Return the families of which FORWARD sees even what stays on the bridge: br_netfilter hands it over.

    Args:
        bridge: the bridge.
        versions: the families that are asked for, each 4 or 6.
    """
    return [version for version in versions if any(_is_on(p.format(bridge)) for p in _BRIDGED[version])]


def routes_loopback(link: str) -> bool:
    """Return whether a link accepts packets for 127.0.0.0/8, as needed for published ports."""
    return _is_on(_ROUTE_LOOPBACK.format(link))


def _is_on(path: str) -> bool:
    try:
        return read_sysctl(path) == "1"
    except OSError:
        return False


def route_loopback(link: str) -> None:
    """Make a link accept packets for 127.0.0.0/8.

    Raises:
        CniError: NETWORK_SETUP when the switch cannot be set.
    """
    path = _ROUTE_LOOPBACK.format(link)
    try:
        write_sysctl(path, "1")
    except OSError as error:
        raise CniError(
            NETWORK_SETUP, f"failed to route 127.0.0.1 to {link}: {error}", f"set {path} to 1"
        ) from None


def stop_routing_loopback(link: str) -> None:
    """Drop packets for 127.0.0.0/8 from a link again, as the kernel does by default."""
    try_sysctl(_ROUTE_LOOPBACK.format(link), "0")


def refuse_router_advertisements(link: str) -> None:
    """Keep containers from configuring the host by router advertisements.

    A host that forwards refuses them anyway, unless it is told not to.
    """
    try_sysctl(f"/proc/sys/net/ipv6/conf/{link}/accept_ra", "0")


def answer_for_own_addresses(link: str) -> None:
    """Keep the host from answering ARP requests on a link that are for addresses of its other links."""
    try_sysctl(f"/proc/sys/net/ipv4/conf/{link}/arp_ignore", "1")


def enable_ipv6(link: str) -> None:
    """Let a link have IPv6 addresses, also where `default/disable_ipv6` is set.

    Raises:
        CniError: the kernel has no IPv6, or refuses.
    """
    try:
        write_sysctl(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6", "0")
    except OSError as error:
        raise CniError(
            NETWORK_SETUP,
            f"cannot enable IPv6 on {link}: {error}",
            "boot the kernel with IPv6, or remove the IPv6 ranges from the network",
        ) from None
