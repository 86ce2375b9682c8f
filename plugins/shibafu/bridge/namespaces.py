"""The two network namespaces of an attachment: the host's, where plugins run, and the container's."""

import os

from shibafu.cni.errors import INVALID_ENVIRONMENT, SAME_NETNS, CniError
from shibafu.cni.lock import Lock
from shibafu.netlink.namespace import NetnsGuard, current_netns, entered, open_netns, same_netns
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.identity import NetnsIdentity, identify_open_netns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request


class Namespaces:
    """Both namespaces, open, and a netlink socket in each.

    Args:
        request: the call; CNI_NETNS is the container's namespace.

    Raises:
        CniError: CNI_NETNS is no network namespace, or the one that the plugin itself is in.
    """

    __slots__ = ("_guard", "_path", "container", "container_fd", "host", "host_fd")

    def __init__(self, request: "Request") -> None:
        self._path = request.netns
        self.container_fd = open_container_netns(request)
        self.host_fd = current_netns()
        self._guard = entered(self.container_fd)
        self.host = NetlinkSocket()
        with self.entered_container():
            self.container = NetlinkSocket()

    def entered_container(self) -> NetnsGuard:
        """Return a context manager that is inside the container's namespace."""
        return self._guard

    def lock_container(self) -> Lock:
        """Return the container's lock, to be held by `with`: it keeps other calls out of the container.

        The specification asks runtimes not to make two at once; those that lose patience do. The lock is a
        file of ours and not the namespace's own, which the container can open, and lock for ever.
        """
        found = os.fstat(self.container_fd)
        name = f"netns-{found.st_dev}-{found.st_ino}"
        return Lock(name, f"network namespace {self._path}", handed_down=False)

    def identify_container(self) -> NetnsIdentity:
        """Return which namespace the container's is."""
        return identify_open_netns(self._path, self.container_fd, self.container.read_netns_cookie())

    def __enter__(self) -> "Namespaces":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all four descriptors."""
        self.host.close()
        self.container.close()
        os.close(self.host_fd)
        os.close(self.container_fd)


def open_container_netns(request: "Request") -> int:
    """Open CNI_NETNS.

    Raises:
        CniError: it is no network namespace, or the one that the plugin itself is in.
    """
    path = request.netns
    try:
        descriptor = open_netns(path)
    except OSError as error:
        reason = error.strerror or str(error)
        reason = reason[:1].lower() + reason[1:]
        raise CniError(
            INVALID_ENVIRONMENT,
            f'failed to open netns "{path}": failed to Statfs "{path}": {reason}',
            "CNI_NETNS must be the path of the container's network namespace",
        ) from None
    own = current_netns()
    is_same = same_netns(descriptor, own)
    os.close(own)
    if is_same and request.env.get("CNI_NETNS_OVERRIDE", "").upper() not in ("1", "TRUE"):
        os.close(descriptor)
        raise CniError(
            SAME_NETNS,
            "plugin's netns and netns from CNI_NETNS should not be the same",
            f"{path} is the namespace of the host; the container would lose nothing and the host its network",
        )
    return descriptor
