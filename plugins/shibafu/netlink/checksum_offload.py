"""Whether an interface leaves checksums of what it sends to the hardware, or to the interface below it.

It is what `ethtool -K LINK tx off` sets, of all protocols (`tx-checksum-ip-generic` of a VXLAN).
"""

from shibafu.netlink.ethtool import ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM, EthtoolSocket


def has_checksum_offload(link: str) -> bool:
    """Return whether an interface of the process's namespace leaves checksums to others.

    Raises:
        OSError: there is no such interface, or its driver does not support the setting.
    """
    with EthtoolSocket() as sock:
        return bool(sock.request(link, ETHTOOL_GTXCSUM))


def set_checksum_offload(link: str, enabled: bool) -> None:
    """Have an interface leave checksums to others, or compute them.

    Raises:
        OSError: there is no such interface, or its driver does not support the setting.
    """
    with EthtoolSocket() as sock:
        sock.request(link, ETHTOOL_STXCSUM, int(enabled))
