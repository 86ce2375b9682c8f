"""The interface `lo` of a network namespace, which always exists and is initially down."""

from shibafu.cni.errors import NETWORK_SETUP, CniError
from shibafu.lean.ip import Address, Cidr
from shibafu.netlink.link import Link
from shibafu.netlink.link_requests import link_set
from shibafu.resource.base import INSIDE, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.netlink.socket import NetlinkSocket
    from shibafu.resource.view import View

NAME = "lo"
_LOOPBACK = {4: Cidr(Address(4, 127 << 24), 8), 6: Cidr(Address(6, 1), 128)}


class LoopbackInterface(Resource):
    """The interface, up: programs of the container reach each other at 127.0.0.1 and ::1.

    Args:
        sock: a socket of that namespace.
    """

    __slots__ = ("_sock",)
    medium = INSIDE
    is_inside = True

    def __init__(self, sock: "NetlinkSocket") -> None:
        self._sock = sock

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"interface {NAME}"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"name": NAME, "state": "up"}

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        if _require_link(view).up:
            return []
        advice = "it was set down in the container; set it up there: `ip link set lo up`"
        return [Fault(f"interface {NAME} of the container is down", advice)]

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: it has an address that is none of a loopback interface.
            NetlinkError: the kernel refuses.
        """
        was_down = not _require_link(view).up
        self._sock.request(link_set(NAME, up=True))
        for address in list_addresses(view):
            if not _LOOPBACK[address.version].contains(address.address):
                raise CniError(
                    NETWORK_SETUP,
                    f'loopback interface found with non-loopback address "{address.address}"',
                    f"it was added to {NAME}; remove it: `ip address del {address} dev {NAME}`",
                )
        return was_down

    def remove(self) -> None:
        """Set it down."""
        self._sock.request(link_set(NAME, up=False))


def list_addresses(view: "View") -> list[Cidr]:
    """Return the interface's addresses, those of IPv4 first."""
    found = sorted(view.addresses(_require_link(view)), key=lambda address: (len(address[0]), address))
    return [Cidr(Address.from_packed(ip), prefix) for ip, prefix in found]


def _require_link(view: "View") -> Link:
    link = view.link(NAME)
    if link is None:
        raise CniError(NETWORK_SETUP, f"the container has no interface {NAME}", "it was renamed")
    return link
