"""Frames that a program with CAP_NET_RAW writes itself: IP packets with UDP or ICMPv6, and tags of VLANs."""

import socket
from struct import pack

UDP, ICMPV6 = 17, 58


def calc_frame(destination: bytes, source: bytes, packet: bytes, tags: tuple[int, ...] = ()) -> bytes:
    """Return the Ethernet frame of a packet; each tag is an EtherType, for VLAN 0."""
    tagged = b"".join(pack("!HH", tag, 0) for tag in tags)
    return destination + source + tagged + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet


def calc_datagram(source: str, destination: str, port: int) -> bytes:
    """Return the packet of a datagram to a port."""
    data = b"ping"
    return calc_packet(UDP, source, destination, pack("!HHHH", 5000, port, 8 + len(data), 0) + data, 6)


def calc_neighbour(source: str, destination: str, target: str, mac: bytes, options: int = 0) -> bytes:
    """Return the packet that says where an IPv6 address is, overriding what is known.

    Args:
        source: an address.
        destination: an address.
        target: the address that it is about.
        mac: where that is.
        options: how many bytes of options are in front, eight at least; 0 for none.
    """
    message = pack("!BBHI", 136, 0, 0, 1 << 29) + socket.inet_pton(socket.AF_INET6, target) + b"\2\1" + mac
    packet = calc_packet(ICMPV6, source, destination, message, 2)
    if not options:
        return packet
    # Of destination options, RFC 8200, those for experiments that are passed over.
    data = socket.inet_pton(socket.AF_INET6, source).rjust(options - 4, b"\0")
    extension = pack("!BBBB", ICMPV6, options // 8 - 1, 0x1E, options - 4) + data
    return packet[:4] + pack("!HB", options + len(message), 60) + packet[7:40] + extension + packet[40:]


def calc_packet(protocol: int, source: str, destination: str, data: bytes, checksum: int) -> bytes:
    """Return an IPv4 or IPv6 packet.

    Args:
        protocol: what it carries.
        source: an address.
        destination: an address.
        data: of the protocol, with zeros in place of the checksum.
        checksum: where that belongs.
    """
    version = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(version, source) + socket.inet_pton(version, destination)
    total = calc_checksum(addresses + pack("!II", len(data), protocol) + data)
    data = data[:checksum] + total + data[checksum + 2 :]
    if version == socket.AF_INET6:
        return pack("!IHBB", 6 << 28, len(data), protocol, 255) + addresses + data
    header = pack("!BBHIBBH", 0x45, 0, 20 + len(data), 0, 64, protocol, 0) + addresses
    return header[:10] + calc_checksum(header) + header[12:] + data


def calc_checksum(data: bytes) -> bytes:
    """Return the Internet checksum of an even number of bytes, RFC 1071."""
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return pack("!H", ~total & 0xFFFF)
