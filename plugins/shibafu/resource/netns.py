"""A network namespace at a path, open: to enter it, to look into it, to keep others out of it."""

import os

from shibafu.cni.errors import INVALID_ENVIRONMENT, SAME_NETNS, CniError
from shibafu.cni.lock import Lock
from shibafu.netlink.namespace import NetnsContext, entered, is_current_netns, open_netns
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.identity import NetnsIdentity, identify_open_netns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request


class Netns:
    """A network namespace.

    Args:
        path: where it is.

    Raises:
        OSError: there is nothing, or it is not a network namespace.
    """

    __slots__ = ("_context", "_path", "_sock", "descriptor")

    def __init__(self, path: str) -> None:
        self._path = path
        self.descriptor = open_netns(path)
        self._context: NetnsContext | None = None
        self._sock: NetlinkSocket | None = None

    def entered(self) -> NetnsContext:
        """Return a context in which the process is in the namespace."""
        if self._context is None:
            self._context = entered(self.descriptor)
        return self._context

    @property
    def sock(self) -> NetlinkSocket:
        """A netlink socket in the namespace. The first access must come from outside it."""
        if self._sock is None:
            with self.entered():
                self._sock = NetlinkSocket()
        return self._sock

    def lock(self) -> Lock:
        """Return the lock that keeps other calls out of the namespace while it is held by `with`.

        The specification asks runtimes not to make two at once; those that lose patience do. The lock is a
        file of ours and not the namespace's own, which the container can open, and lock for ever.
        """
        found = os.fstat(self.descriptor)
        name = f"netns-{found.st_dev}-{found.st_ino}"
        return Lock(name, f"network namespace {self._path}", handed_down=False)

    def identify(self) -> NetnsIdentity:
        """Return which namespace it is."""
        return identify_open_netns(self._path, self.descriptor, self.sock.read_netns_cookie())

    def __enter__(self) -> "Netns":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened."""
        if self._sock is not None:
            self._sock.close()
        os.close(self.descriptor)


def open_container_netns(request: "Request") -> Netns:
    """Open CNI_NETNS.

    Raises:
        CniError: it is not a network namespace, or the one that the plugin itself is in.
    """
    path = request.netns
    try:
        netns = Netns(path)
    except OSError as error:
        reason = error.strerror or str(error)
        reason = reason[:1].lower() + reason[1:]
        raise CniError(
            INVALID_ENVIRONMENT,
            f'failed to open netns "{path}": failed to Statfs "{path}": {reason}',
            "CNI_NETNS must be the path of the container's network namespace",
        ) from None
    is_allowed = request.env.get("CNI_NETNS_OVERRIDE", "").upper() in ("1", "TRUE")
    if not is_allowed and is_current_netns(netns.descriptor):
        netns.close()
        raise CniError(
            SAME_NETNS,
            "plugin's netns and netns from CNI_NETNS should not be the same",
            f"{path} is the host's namespace; attaching it would cut the host off",
        )
    return netns
