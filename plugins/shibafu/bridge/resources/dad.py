"""Duplicate address detection (RFC 4862, section 5.4), for the key `enabledad`."""

import time
from _socket import AF_INET6

from shibafu.cni.errors import NETWORK_SETUP, CniError
from shibafu.cni.result import Result
from shibafu.netlink.address import addr_list
from shibafu.netlink.constants import IFA_F_DADFAILED, IFA_F_TENTATIVE
from shibafu.netlink.link import link_by_name
from shibafu.netlink.socket import NetlinkSocket

# Ten seconds, in pauses of a twentieth.
_DAD_LOOKS = 200
_DAD_PAUSE = 0.05


def wait_for_dad(sock: NetlinkSocket, ifname: str, result: Result) -> None:
    """Wait for the kernel's duplicate address detection of the IPv6 addresses, if there are any.

    Args:
        sock: a socket in the container's namespace.
        ifname: the link's name.
        result: the addresses.

    Raises:
        CniError: somebody has, or it takes longer than ten seconds.
    """
    link = link_by_name(sock, ifname)
    if link is None or not any(ip.address.version == 6 for ip in result.ips):
        return
    for _ in range(_DAD_LOOKS):
        addresses = addr_list(sock, link.index, AF_INET6)
        if any(address.flags & IFA_F_DADFAILED for address in addresses):
            raise CniError(
                NETWORK_SETUP,
                "duplicate address detection found another owner of the address",
                "remove the other owner from the bridge's network, or exclude the address from the range",
            )
        if not any(address.flags & IFA_F_TENTATIVE for address in addresses):
            return
        time.sleep(_DAD_PAUSE)
    raise CniError(NETWORK_SETUP, "duplicate address detection did not finish")
