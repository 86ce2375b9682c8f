"""IP addresses and subnets, for both families, without the import of `ipaddress` (4 ms)."""

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

_BITS = {4: 32, 6: 128}
_FAMILY = {4: AF_INET, 6: AF_INET6}
_MAPPED_PREFIX = bytes(10) + b"\xff\xff"  # ::ffff:a.b.c.d, RFC 4291 section 2.5.5.2


class Address:
    """One IPv4 or IPv6 address.

    Args:
        version: 4 or 6.
        value: the address as an unsigned integer.
    """

    __slots__ = ("value", "version")

    def __init__(self, version: int, value: int) -> None:
        self.version = version
        self.value = value

    @classmethod
    def from_packed(cls, packed: bytes) -> "Address":
        """Return the address of 4 or 16 bytes in network order."""
        return cls(4 if len(packed) == 4 else 6, int.from_bytes(packed, "big"))

    @property
    def packed(self) -> bytes:
        """The address as 4 or 16 bytes in network order."""
        return self.value.to_bytes(_BITS[self.version] // 8, "big")

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return int(_FAMILY[self.version])

    @property
    def bits(self) -> int:
        """The length of the address: 32 or 128."""
        return _BITS[self.version]

    def __str__(self) -> str:
        return inet_ntop(self.family, self.packed)

    def __repr__(self) -> str:
        return f"Address({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and (self.version, self.value) == (other.version, other.value)

    def __hash__(self) -> int:
        return hash((self.version, self.value))


class Cidr:
    """An address and the length of its subnet's prefix: 10.1.0.7/24, or 10.1.0.0/24 for the subnet."""

    __slots__ = ("address", "prefix")

    def __init__(self, address: Address, prefix: int) -> None:
        self.address = address
        self.prefix = prefix

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.address.version

    @property
    def first(self) -> int:
        """The lowest address of the subnet, as an integer."""
        host_bits = self.address.bits - self.prefix
        return self.address.value >> host_bits << host_bits

    @property
    def last(self) -> int:
        """The highest address of the subnet, as an integer; in IPv4 this is the broadcast address."""
        return self.first | (1 << (self.address.bits - self.prefix)) - 1

    @property
    def network(self) -> "Cidr":
        """The subnet that the address is in: 10.1.0.7/24 is in 10.1.0.0/24."""
        return Cidr(Address(self.version, self.first), self.prefix)

    def contains(self, address: Address) -> bool:
        """Return whether `address` is in the subnet."""
        return address.version == self.version and self.first <= address.value <= self.last

    def overlaps(self, other: "Cidr") -> bool:
        """Return whether both subnets have an address in common."""
        return self.version == other.version and self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix}"

    def __repr__(self) -> str:
        return f"Cidr({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cidr) and (self.address, self.prefix) == (other.address, other.prefix)

    def __hash__(self) -> int:
        return hash((self.address, self.prefix))


def parse_address(text: str) -> Address:
    """Parse an address without a prefix; an IPv4 address mapped into IPv6 is the IPv4 address.

    Raises:
        ValueError: the text is not an address.
    """
    family = AF_INET6 if ":" in text else AF_INET
    try:
        packed = inet_pton(family, text)
    except (OSError, ValueError):
        raise ValueError(f"invalid IP address: {text}") from None
    if packed.startswith(_MAPPED_PREFIX):
        packed = packed[12:]
    return Address.from_packed(packed)


def parse_cidr(text: str) -> Cidr:
    """Parse `address/prefix`, keeping the host bits.

    Raises:
        ValueError: the text is not an address with a prefix.
    """
    address_text, slash, prefix_text = text.partition("/")
    try:
        address = parse_address(address_text)
    except ValueError:
        raise ValueError(f"invalid CIDR address: {text}") from None
    # isdecimal() alone lets digits of other scripts through; int() refuses thousands in its own words.
    is_number = prefix_text.isascii() and prefix_text.isdecimal() and len(prefix_text) <= 3
    if not (slash and is_number and int(prefix_text) <= address.bits):
        raise ValueError(f"invalid CIDR address: {text}")
    return Cidr(address, int(prefix_text))


def parse_mac(text: str) -> bytes:
    """Parse a link's hardware address, such as 02:42:0a:00:00:05, 02-42-0a-00-00-05 or 0242.0a00.0005.

    These are the forms of Go's net.ParseMAC.

    Raises:
        ValueError: the text is not six bytes, or the address is of a group of links or of none.
    """
    size, parts = (4, text.split(".")) if "." in text else (2, text.replace("-", ":").split(":"))
    try:
        if len(parts) * size != 12 or any(len(part) != size for part in parts):
            raise ValueError(text)
        mac = bytes.fromhex("".join(parts))
        if len(mac) != 6:  # fromhex() passes over spaces
            raise ValueError(text)
    except ValueError:
        raise ValueError(f"address {text}: invalid MAC address") from None
    if mac[0] & 1 or not any(mac):
        raise ValueError(f"address {text}: not a unicast MAC address")
    return mac
