"""The kernel's state as faults are looked for in it: each thing is read once, when it is first asked for."""

from shibafu.netlink.address import addr_list
from shibafu.netlink.link import Link, link_by_name
from shibafu.netlink.socket import NetlinkSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import TypeVar

    from shibafu.netlink.namespace import NetnsContext
    from shibafu.resource.netns import Netns

    T = TypeVar("T")


class View:
    """One network namespace, perhaps together with a container's.

    Args:
        sock: a socket of the namespace.
        inside: the view of the container's namespace.
        netns: the namespace, to enter it; None where the process is in it.

    Attributes:
        leaves_switches: whether an administrator wants the kernel's switches, such as forwarding, to stay as
            they are on what exists, whatever else is made again.
    """

    __slots__ = ("_known", "_netns", "inside", "leaves_switches", "sock")

    def __init__(
        self, sock: NetlinkSocket, inside: "View | None" = None, netns: "Netns | None" = None
    ) -> None:
        self.sock = sock
        self.inside = inside
        self._netns = netns
        self.leaves_switches = False
        self._known: dict[Hashable, object] = {}

    def beside(self, netns: "Netns") -> "View":
        """Return this view together with a container's; what it knows is shared."""
        other = View(self.sock, View(netns.sock, netns=netns))
        other._known = self._known
        return other

    def once(self, key: "Hashable", read: "Callable[[], T]") -> "T":
        """Return what `read` returned when it was first asked for under this key."""
        if key not in self._known:
            self._known[key] = read()
        found: T = self._known[key]  # type: ignore[assignment]  # what `read` of this key returns
        return found

    @property
    def descriptor(self) -> int:
        """The namespace's descriptor; -1 where the process is in it."""
        return self._netns.descriptor if self._netns is not None else -1

    def entered(self) -> "NetnsContext":
        """Return a context in which the process is in the namespace."""
        if self._netns is None:
            raise ValueError("the process is in it")
        return self._netns.entered()

    def learn(self, link: Link) -> None:
        """Use a link that has been read elsewhere."""
        self._known["link", link.name] = link

    def link(self, name: str) -> Link | None:
        """Return a link; None when there is none of that name."""
        return self.once(("link", name), lambda: link_by_name(self.sock, name))

    def look_again(self, name: str) -> Link | None:
        """Return a link as it is now."""
        self._known.pop(("link", name), None)
        return self.link(name)

    def addresses(self, link: Link) -> set[tuple[bytes, int]]:
        """Return a link's addresses and the lengths of their prefixes."""
        return self.once(
            ("addresses", link.index), lambda: {(a.ip, a.prefix) for a in addr_list(self.sock, link.index)}
        )

    def forget(self) -> None:
        """Read everything again from now on."""
        self._known.clear()
        if self.inside is not None:
            self.inside.forget()

    def __enter__(self) -> "View":
        return self

    def __exit__(self, *exception: object) -> None:
        self.sock.close()


def open_view(netns: "Netns | None" = None) -> View:
    """Open the namespace that the process is in, to be closed by `with`.

    Args:
        netns: a container's, whose view goes with it; the caller closes it.
    """
    return View(NetlinkSocket(), View(netns.sock, netns=netns) if netns is not None else None)
