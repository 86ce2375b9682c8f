"""The link to the other hosts, and the addresses by which they reach this one."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from shibafu.netlink.address import Addr, addr_list
from shibafu.netlink.constants import (
    AF_INET,
    AF_INET6,
    IFA_F_DADFAILED,
    IFA_F_TENTATIVE,
    RT_SCOPE_UNIVERSE,
    RTN_UNICAST,
)
from shibafu.netlink.link import Link, link_by_index, link_by_name, link_list
from shibafu.netlink.route import route_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.overlay.config import OverlaySettings
from shibafu.overlay.errors import OverlayError

_IFA_F_SECONDARY = 0x01  # linux/if_addr.h; in IPv6 the same bit says that it is temporary
_IFA_F_DEPRECATED = 0x20


@dataclass(frozen=True)
class OuterLink:
    """The link, and this host's addresses on it.

    Args:
        index: the link's.
        name: its name.
        mtu: in bytes.
        local: the source address of packets to other hosts; None without IPv4.
        local6: likewise; None where IPv6 is not needed.
        public: the address by which others reach this host.
        public6: likewise.
    """

    index: int
    name: str
    mtu: int
    local: IPv4Address
    local6: IPv6Address | None
    public: IPv4Address
    public6: IPv6Address | None


def find_outer_link(sock: NetlinkSocket, settings: OverlaySettings, has_ipv6: bool) -> OuterLink:
    """Return the link that packets to other hosts leave by.

    It is the one that `iface` names, else the one that has `publicIP`, else that of the default route.

    Args:
        sock: a socket of the host's namespace.
        settings: of the network.
        has_ipv6: whether an IPv6 address is needed, too.

    Raises:
        OverlayError: there is none, or it has no address; what to change.
    """
    link = _find_link(sock, settings)
    addresses = addr_list(sock, link.index)
    local = _choose(addresses, AF_INET, settings.public_ip)
    if local is None:
        raise OverlayError(
            f"{link.name} has no IPv4 address for the other hosts",
            "give it one, or name another link with the key iface",
        )
    local6 = _choose(addresses, AF_INET6, settings.public_ip6) if has_ipv6 else None
    if has_ipv6 and local6 is None:
        raise OverlayError(
            f"{link.name} has no IPv6 address for the other hosts, but the network has IPv6",
            "give it one that is not link-local, or name another link with the key iface",
        )
    ip, ip6 = IPv4Address(local), IPv6Address(local6) if local6 else None
    return OuterLink(
        link.index,
        link.name,
        link.mtu,
        ip,
        ip6,
        settings.public_ip or ip,
        settings.public_ip6 or ip6 if has_ipv6 else None,
    )


def note_absent_addresses(sock: NetlinkSocket, settings: OverlaySettings, has_ipv6: bool) -> str:
    """Return a note about configured addresses that no link of the host has; empty if there are none.

    They are right where a router translates them to the host's, address by address.

    Args:
        sock: a socket of the host's namespace.
        settings: of the network.
        has_ipv6: whether `publicIPv6` matters.

    Raises:
        NetlinkError: the addresses cannot be read.
    """
    stated = {"publicIP": settings.public_ip, "publicIPv6": settings.public_ip6 if has_ipv6 else None}
    own = {addr.ip for addr in addr_list(sock)}
    absent = [f"{key} {ip}" for key, ip in stated.items() if ip is not None and ip.packed not in own]
    if not absent:
        return ""
    verb = "is" if len(absent) == 1 else "are"
    return f"{' and '.join(absent)} {verb} on no link of this host, which is right behind 1:1 NAT only"


def _find_link(sock: NetlinkSocket, settings: OverlaySettings) -> Link:
    if settings.iface:
        link = link_by_name(sock, settings.iface)
        if link is None:
            raise OverlayError(
                f"link {settings.iface}, which iface names for network {settings.name}, does not exist",
                _describe_candidates(sock),
            )
        return link
    index = 0
    if settings.public_ip is not None:
        index = next(
            (addr.index for addr in addr_list(sock, family=AF_INET) if addr.ip == settings.public_ip.packed),
            0,
        )
    if not index:
        defaults = [
            route
            for route in route_list(sock, family=AF_INET)
            if route.dst is None and route.type == RTN_UNICAST and route.index
        ]
        index = min(defaults, key=lambda route: route.priority).index if defaults else 0
    link = link_by_index(sock, index) if index else None
    if link is None:
        raise OverlayError(
            "this host has no default route, by which the link to the other hosts would be found",
            f"name the link with the key iface of network {settings.name}; {_describe_candidates(sock)}",
        )
    return link


def _describe_candidates(sock: NetlinkSocket) -> str:
    """Return which links can lead to other hosts, in words; a VXLAN's own needs another one below it."""
    indexes = {
        addr.index for addr in addr_list(sock, family=AF_INET) if _choose([addr], AF_INET, None) is not None
    }
    names = [link.name for link in link_list(sock) if link.index in indexes and link.kind != "vxlan"]
    return f"links with an IPv4 address: {', '.join(names)}" if names else "no link has an IPv4 address"


def _choose(addresses: list[Addr], family: int, wanted: IPv4Address | IPv6Address | None) -> bytes | None:
    """Return the wanted address if the link has it, else its first one that stays."""
    usable = [
        addr.ip
        for addr in addresses
        if addr.family == family
        and addr.scope == RT_SCOPE_UNIVERSE
        and not addr.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED | _IFA_F_SECONDARY | _IFA_F_DEPRECATED)
    ]
    if wanted is not None and wanted.packed in usable:
        return wanted.packed
    return usable[0] if usable else None
