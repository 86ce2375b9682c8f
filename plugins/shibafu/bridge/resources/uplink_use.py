"""How a bridge's uplinks are used, whichever the mode: what `Uplinks` asks, and what modes have in common."""

from shibafu.bridge.resources.active_uplink import find_dropped, list_uplinks
from shibafu.netlink.link import Link
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class UplinkUse:
    """How uplinks are used; a subclass for each `uplinkMode`.

    Args:
        names: the uplinks, the preferred one first.
        former: takes the links that are changed, as they were.
    """

    __slots__ = ("_former", "_names")

    def __init__(self, names: "tuple[str, ...]", former: list[Link]) -> None:
        self._names = names
        self._former = former

    def find_faults(self, sock: NetlinkSocket, bridge: Link, links: list[Link]) -> "Iterator[Fault]":
        """Yield what is wrong with how they are used."""
        raise NotImplementedError

    def apply(self, sock: NetlinkSocket, bridge: Link, had_uplink: bool) -> None:
        """Have them be used like that; the lock is held.

        Args:
            sock: a socket of the namespace.
            bridge: the bridge.
            had_uplink: whether one was in use before. Then containers depend on it, and what is changed here
                stays if the call fails later.

        Raises:
            CniError: the kernel cannot do it.
            NetlinkError: the kernel refuses something else.
        """
        raise NotImplementedError

    def undo(self, sock: NetlinkSocket) -> None:
        """Undo what is not undone by restoring the links."""

    def _find_links(self, sock: NetlinkSocket) -> list[Link]:
        """Return those uplinks that are there."""
        return list_uplinks(sock, self._names)

    @staticmethod
    def _find_dropped_faults(sock: NetlinkSocket, bridge: Link, names: "Iterable[str]") -> "Iterator[Fault]":
        """Yield which ports of the bridge are former uplinks."""
        for dropped in find_dropped(sock, bridge, names):
            yield Fault(f"{dropped.name} is a port of bridge {bridge.name}, and no longer one of its uplinks")
