"""Whether links have a carrier, asked often.

The kernel may announce the loss of one as late as a second after it (net/core/link_watch.c), which is why
bonding polls, too.
"""

from errno import EOPNOTSUPP

from shibafu.netlink.ethtool import ETHTOOL_GLINK, EthtoolSocket


class Carriers:
    """Asks for carriers by one socket, which stays open."""

    def __init__(self) -> None:
        self._sock = EthtoolSocket()

    def has_carrier(self, link: str) -> bool:
        """Return whether a link is up and has a carrier; one whose driver cannot tell is taken to have it."""
        try:
            return bool(self._sock.request(link, ETHTOOL_GLINK))
        except OSError as error:
            return error.errno == EOPNOTSUPP

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()
