"""Packed IP addresses: 4 bytes are IPv4, 16 are IPv6."""

from _socket import inet_ntop

from shibafu.netlink.constants import AF_INET, AF_INET6


def calc_family(ip: bytes) -> int:
    """Return AF_INET or AF_INET6.

    Raises:
        ValueError: the length is neither of the two.
    """
    if len(ip) == 4:
        return AF_INET
    if len(ip) == 16:
        return AF_INET6
    raise ValueError(f"an IP address has 4 or 16 bytes, not {len(ip)}")


def calc_broadcast(ip: bytes, prefix: int) -> bytes | None:
    """Return the broadcast address of an IPv4 subnet; None for IPv6, and where two hosts fill the subnet."""
    if len(ip) != 4 or prefix > 30:
        return None
    return (int.from_bytes(ip, "big") | 0xFFFFFFFF >> prefix).to_bytes(4, "big")


def ip_text(ip: bytes) -> str:
    """Name an address in an error's sentence."""
    return inet_ntop(calc_family(ip), ip)
