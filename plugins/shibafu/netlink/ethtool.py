"""What drivers say of a link, and rtnetlink does not: SIOCETHTOOL (linux/sockios.h, linux/ethtool.h)."""

from array import array
from fcntl import ioctl
from socket import AF_INET, SOCK_CLOEXEC, SOCK_DGRAM, socket
from struct import Struct

ETHTOOL_GLINK = 0x0A
_ETHTOOL_GTXCSUM, _ETHTOOL_STXCSUM = 0x16, 0x17
_SIOCETHTOOL = 0x8946
# struct ifreq: the name, and a pointer to the request.
_IFREQ = Struct("16sP16x")


class EthtoolSocket:
    """A socket for requests about links of the process's namespace, a context manager."""

    __slots__ = ("_socket",)

    def __init__(self) -> None:
        self._socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC)

    def __enter__(self) -> "EthtoolSocket":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def request(self, link: str, command: int, value: int = 0) -> int:
        """Make a request with one value, `struct ethtool_value`; return the value as it is after it.

        Args:
            link: the link's name.
            command: ETHTOOL_*.
            value: what to set.

        Raises:
            OSError: the link does not exist, or its driver does not support the request (EOPNOTSUPP).
        """
        content = array("I", (command, value))
        name = link.encode("utf-8", "surrogateescape")
        ioctl(self._socket.fileno(), _SIOCETHTOOL, _IFREQ.pack(name, content.buffer_info()[0]))
        return content[1]

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def has_checksum_offload(link: str) -> bool:
    """Return whether a link leaves checksums of what it sends to the hardware, or to the link below it.

    It is what `ethtool -K LINK tx off` sets, of all protocols (`tx-checksum-ip-generic` of a VXLAN).

    Raises:
        OSError: the link does not exist, or its driver does not support the setting.
    """
    with EthtoolSocket() as sock:
        return bool(sock.request(link, _ETHTOOL_GTXCSUM))


def set_checksum_offload(link: str, enabled: bool) -> None:
    """Have a link leave checksums to others, or compute them; see `has_checksum_offload`.

    Raises:
        OSError: the link does not exist, or its driver does not support the setting.
    """
    with EthtoolSocket() as sock:
        sock.request(link, _ETHTOOL_STXCSUM, int(enabled))
