"""Whether an interface leaves checksums of what it sends to the hardware, or to the interface below it.

It is what `ethtool -K LINK tx off` sets, of all protocols (`tx-checksum-ip-generic` of a VXLAN). rtnetlink
does not have it; see SIOCETHTOOL in linux/sockios.h and `struct ethtool_value` in linux/ethtool.h.
"""

from array import array
from fcntl import ioctl
from socket import AF_INET, SOCK_CLOEXEC, SOCK_DGRAM, socket
from struct import Struct

_SIOCETHTOOL = 0x8946
_GET, _SET = 0x16, 0x17  # ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM
# struct ifreq: the name, and a pointer to the request.
_IFREQ = Struct("16sP16x")


def has_checksum_offload(link: str) -> bool:
    """Return whether an interface of the process's namespace leaves checksums to others.

    Raises:
        OSError: there is no such interface, or it has no such setting.
    """
    return bool(_call(link, _GET, 0))


def set_checksum_offload(link: str, enabled: bool) -> None:
    """Have an interface leave checksums to others, or compute them.

    Raises:
        OSError: there is no such interface, or it cannot do that.
    """
    _call(link, _SET, int(enabled))


def _call(link: str, command: int, value: int) -> int:
    request = array("I", [command, value])
    with socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC) as sock:
        ioctl(
            sock, _SIOCETHTOOL, _IFREQ.pack(link.encode("utf-8", "surrogateescape"), request.buffer_info()[0])
        )
    return request[1]
