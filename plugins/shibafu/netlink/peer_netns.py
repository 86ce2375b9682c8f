"""Looking into the namespace at the other end of a veth pair, without being told where it is.

The kernel numbers the namespaces that links of one lead to (IFLA_LINK_NETNSID), and answers for
another namespace when it is given such a number (Linux 4.20). An older one passes over the number,
and answers for its own: such an answer does not repeat it.
"""

from errno import EINVAL, ENODEV, EOPNOTSUPP

from shibafu.netlink.address import IFADDRMSG, Addr, parse_addr
from shibafu.netlink.codec import attr_u32, parse_attrs
from shibafu.netlink.constants import (
    AF_UNSPEC,
    IFA_TARGET_NETNSID,
    IFLA_TARGET_NETNSID,
    RTM_GETADDR,
    RTM_GETLINK,
)
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import IFINFOMSG, Link, ifinfo, parse_link
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

# EINVAL: the number stands for no namespace any more.
_GONE = (ENODEV, EINVAL)


def peer_inside(sock: NetlinkSocket, link: Link) -> Link | None:
    """Return the other end of a veth pair that is in another namespace; None when it is gone.

    Raises:
        NetlinkError: the kernel does not let look there.
    """
    payload = ifinfo(link.peer) + attr_u32(IFLA_TARGET_NETNSID, link.link_netnsid)
    request = NetlinkRequest(RTM_GETLINK, 0, payload, f"cannot look up the other end of {link.name}")
    try:
        answer = sock.get(request)
    except NetlinkError as error:
        if error.errno in _GONE:
            return None
        raise
    if IFLA_TARGET_NETNSID not in parse_attrs(answer, IFINFOMSG.size):
        raise NetlinkError(EOPNOTSUPP, request.what)
    return parse_link(answer)


def addr_list_inside(sock: NetlinkSocket, link: Link) -> list[Addr]:
    """Return the addresses of the other end of a veth pair that is in another namespace.

    Raises:
        NetlinkError: the kernel does not let look there.
    """
    header = IFADDRMSG.pack(AF_UNSPEC, 0, 0, 0, link.peer)
    payload = header + attr_u32(IFA_TARGET_NETNSID, link.link_netnsid)
    what = f"cannot list the addresses at the other end of {link.name}"
    try:
        entries = sock.dump(NetlinkRequest(RTM_GETADDR, 0, payload, what))
    except NetlinkError as error:
        if error.errno in _GONE:
            return []
        raise
    if any(IFA_TARGET_NETNSID not in parse_attrs(entry, IFADDRMSG.size) for entry in entries):
        raise NetlinkError(EOPNOTSUPP, what)
    return [address for address in map(parse_addr, entries) if address.index == link.peer]
