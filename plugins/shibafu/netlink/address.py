"""IP addresses of interfaces."""

from struct import Struct

from shibafu.netlink.codec import attr, attr_u32, parse_attrs, parse_header, parse_int
from shibafu.netlink.constants import (
    AF_INET6,
    AF_UNSPEC,
    IFA_ADDRESS,
    IFA_BROADCAST,
    IFA_F_NODAD,
    IFA_FLAGS,
    IFA_LOCAL,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RT_SCOPE_UNIVERSE,
    RTM_DELADDR,
    RTM_GETADDR,
    RTM_NEWADDR,
)
from shibafu.netlink.inet import calc_broadcast, calc_family, ip_text
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

IFADDRMSG = Struct("=BBBBI")  # family, prefix length, flags, scope, index


class Addr:
    """An address of an interface.

    Args:
        index: The interface's.
        family: AF_INET or AF_INET6.
        prefix: Length of the subnet's prefix in bits.
        ip: The address.
        flags: IFA_F_*, all 32 bits of them.
        scope: RT_SCOPE_*.
    """

    __slots__ = ("family", "flags", "index", "ip", "prefix", "scope")

    def __init__(self, index: int, family: int, prefix: int, ip: bytes, flags: int, scope: int) -> None:
        self.index = index
        self.family = family
        self.prefix = prefix
        self.ip = ip
        self.flags = flags
        self.scope = scope


def parse_addr(payload: bytes) -> Addr:
    """Decode the payload of RTM_NEWADDR or RTM_DELADDR.

    Raises:
        NetlinkDecodeError: it is malformed.
    """
    family, prefix, flags, scope, index = parse_header(IFADDRMSG, payload)
    attrs = parse_attrs(payload, IFADDRMSG.size)
    # On a point-to-point link IFA_ADDRESS is the other end; IPv6 has IFA_LOCAL only there.
    ip = attrs.get(IFA_LOCAL) or attrs.get(IFA_ADDRESS, b"")
    if IFA_FLAGS in attrs:
        flags = parse_int(attrs[IFA_FLAGS], 4)
    return Addr(index, family, prefix, ip, flags, scope)


def addr_list(sock: NetlinkSocket, index: int | None = None, family: int = AF_UNSPEC) -> list[Addr]:
    """Return the addresses of one interface or all, of one family or both. The kernel filters.

    Raises:
        NetlinkError: ENODEV if there is no such interface.
    """
    payload = IFADDRMSG.pack(family, 0, 0, 0, index or 0)
    entries = sock.dump(NetlinkRequest(RTM_GETADDR, 0, payload, "cannot list addresses"))
    # Kernels before 4.20 know no filter by interface.
    return [addr for addr in map(parse_addr, entries) if index is None or addr.index == index]


def addr_add(
    index: int, ip: bytes, prefix: int, *, nodad: bool = True, scope: int = RT_SCOPE_UNIVERSE, flags: int = 0
) -> NetlinkRequest:
    """Request a new address. An IPv4 subnet's broadcast address is set too.

    Args:
        index: The interface's.
        ip: The address.
        prefix: Length of the subnet's prefix in bits.
        nodad: Use an IPv6 address at once, without asking the link whether somebody else has it.
        scope: RT_SCOPE_*, for IPv4.
        flags: Further IFA_F_*.
    """
    if nodad and calc_family(ip) == AF_INET6:
        flags |= IFA_F_NODAD
    payload = _addr(index, ip, prefix, scope)
    broadcast = calc_broadcast(ip, prefix)
    if broadcast is not None:
        payload += attr(IFA_BROADCAST, broadcast)
    if flags:
        # The header has room for 8 bits of them only; the attribute, if present, takes its place.
        payload += attr_u32(IFA_FLAGS, flags)
    what = f"cannot add address {ip_text(ip)}/{prefix}"
    return NetlinkRequest(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, payload, what)


def addr_del(index: int, ip: bytes, prefix: int) -> NetlinkRequest:
    """Request that an address be deleted."""
    payload = _addr(index, ip, prefix, RT_SCOPE_UNIVERSE)
    return NetlinkRequest(RTM_DELADDR, 0, payload, f"cannot delete address {ip_text(ip)}/{prefix}")


def _addr(index: int, ip: bytes, prefix: int, scope: int) -> bytes:
    header = IFADDRMSG.pack(calc_family(ip), prefix, 0, scope, index)
    return header + attr(IFA_LOCAL, ip) + attr(IFA_ADDRESS, ip)
