"""Taking away what the reference's bridge plugin made.

When shibafu takes its place, containers are running that it attached. Their links on the host have
random names and their rules chains of their own, so that DEL has to look for them differently.
"""

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import is_valid_link_name
from shibafu.cni.errors import INVALID_ENVIRONMENT, CniError
from shibafu.cni.names import is_host_veth
from shibafu.netlink.link import Link, link_by_name, link_peer
from shibafu.netlink.link_removal import link_del_announced
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import Resource
from shibafu.resource.netns import open_container_netns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.result import Result


class ReferenceLink(Resource):
    """The link of a container that shibafu does not know: it is removed by its name in the container.

    Args:
        attachment: whose.
    """

    __slots__ = ("_attachment",)

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment

    def remove(self) -> None:
        """See `Resource.remove`."""
        _delete_reference_link(self._attachment)


def _delete_reference_link(attachment: Attachment) -> None:
    """Delete the container's interface by its name there.

    Raises:
        CniError: CNI_NETNS is the host's namespace.
        NetlinkError: the kernel refuses.
    """
    if not attachment.request.netns:
        return
    try:
        netns = open_container_netns(attachment.request)
    except CniError as error:
        if error.code == INVALID_ENVIRONMENT:
            return  # the namespace is gone, and its links with it
        raise
    with netns:
        link = link_by_name(netns.sock, attachment.ifname)
        if link is not None and link.kind == "veth" and _is_of_network(link, attachment):
            with netns.entered():
                link_del_announced(link.index)


def find_port(attachment: Attachment, result: "Result") -> str:
    """Return the name of the container's link on the host, one that the result names; ours without one.

    Where the interface leads elsewhere, or is gone, it is the first that the result names besides the bridge.

    Raises:
        CniError: CNI_NETNS is not a network namespace, or the host's.
    """
    with open_container_netns(attachment.request) as netns, NetlinkSocket() as sock:
        link = link_by_name(netns.sock, attachment.ifname)
        peer = find_reference_peer(sock, link) if link is not None and link.kind == "veth" else None
    on_host = [interface.name for interface in result.interfaces if not interface.sandbox]
    if peer is not None and peer.name in on_host:
        return peer.name
    return next((name for name in on_host if name != attachment.config.bridge), attachment.host_link)


def find_reference_peer(sock: NetlinkSocket, link: Link) -> Link | None:
    """Return the host's end of a container's link, if that may be of the reference's making."""
    peer = link_peer(sock, link)
    return peer if peer is not None and not is_host_veth(peer.name) else None


def _is_of_network(link: Link, attachment: Attachment) -> bool:
    """Return whether the reference attached the link to the network that is asked for.

    A runtime sends DEL after a failed ADD; what made that fail may have been this very link.
    """
    bridge_name = attachment.config.bridge
    with NetlinkSocket() as sock:
        peer = find_reference_peer(sock, link)
        bridge = link_by_name(sock, bridge_name) if is_valid_link_name(bridge_name) else None
    if peer is None:
        return False
    if not peer.master:
        return peer.name in _list_stated_links(attachment)  # its bridge was deleted
    return bridge is not None and peer.master == bridge.index


def _list_stated_links(attachment: Attachment) -> list[str]:
    """Return the names of the links in prevResult; none if it is invalid."""
    from shibafu.cni.result import parse_prev_result

    try:
        result = parse_prev_result(attachment.request.config, attachment.request.cni_version)
    except CniError:
        return []
    interfaces = result.interfaces if result is not None else []
    return [interface.name for interface in interfaces if not interface.sandbox]
