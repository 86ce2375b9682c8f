"""Attributes of an interface: those that it is to have, those that it had, those that it has."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.netlink.link import Link


class Attributes:
    """Attributes of a link; None is one that nothing is said about.

    Args:
        mac: the hardware address.
        mtu: in bytes.
        promisc: whether the link takes frames for every address.
        allmulti: whether it takes frames for every group.
        txqlen: how many packets may wait to be sent.
    """

    __slots__ = ("allmulti", "mac", "mtu", "promisc", "txqlen")

    def __init__(
        self,
        mac: bytes | None = None,
        mtu: int | None = None,
        promisc: bool | None = None,
        allmulti: bool | None = None,
        txqlen: int | None = None,
    ) -> None:
        self.mac = mac
        self.mtu = mtu
        self.promisc = promisc
        self.allmulti = allmulti
        self.txqlen = txqlen

    @classmethod
    def of_link(cls, link: "Link") -> "Attributes":
        """Return those that a link has."""
        return cls(link.mac, link.mtu, link.promisc, link.allmulti, link.txqlen)

    def __bool__(self) -> bool:
        return any(getattr(self, name) is not None for name in self.__slots__)

    def select(self, wanted: "Attributes") -> "Attributes":
        """Return those of these that are also `wanted`, whatever they are to be."""
        found = Attributes()
        for name in self.__slots__:
            if getattr(wanted, name) is not None:
                setattr(found, name, getattr(self, name))
        return found

    def update(self, other: "Attributes") -> None:
        """Take over what the other ones say."""
        for name in self.__slots__:
            value = getattr(other, name)
            if value is not None:
                setattr(self, name, value)
