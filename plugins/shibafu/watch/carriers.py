"""Whether links have a carrier, asked often.

The kernel may announce the loss of one as late as a second after it (net/core/link_watch.c), which is why
bonding polls, too.
"""

import socket
from array import array
from errno import EOPNOTSUPP
from fcntl import ioctl
from struct import pack

_SIOCETHTOOL = 0x8946  # linux/sockios.h
_ETHTOOL_GLINK = 0x0A  # linux/ethtool.h


class Carriers:
    """Asks for carriers by one socket, which stays open."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        # struct ethtool_value
        self._value = array("I", (_ETHTOOL_GLINK, 0))

    def has_carrier(self, link: str) -> bool:
        """Return whether a link is up and has a carrier; one whose driver cannot tell is taken to have it."""
        request = pack("16sP16x", link.encode(), self._value.buffer_info()[0])
        try:
            ioctl(self._socket.fileno(), _SIOCETHTOOL, request)
        except OSError as error:
            return error.errno == EOPNOTSUPP
        return bool(self._value[1])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
