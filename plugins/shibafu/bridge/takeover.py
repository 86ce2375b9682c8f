"""Taking away what the reference's bridge plugin made.

When shibafu takes its place, containers are running that it attached. Their links on the host have
random names and their rules chains of their own, so that DEL has to look for them differently.
"""

import os

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.namespaces import open_container_netns
from shibafu.cni.errors import INVALID_ENVIRONMENT, CniError
from shibafu.cni.names import is_host_veth
from shibafu.firewall.reference import teardown_reference_masquerade
from shibafu.netlink.link import Link, link_by_index, link_by_name
from shibafu.netlink.namespace import entered
from shibafu.netlink.socket import NetlinkSocket
from shibafu.netlink.teardown import link_del_announced


def delete_reference_attachment(attachment: Attachment) -> None:
    """Delete the container's interface by its name there, and its masquerading by its chain's name.

    Raises:
        CniError: CNI_NETNS is the host's namespace, or a rule could not be removed.
        NetlinkError: the kernel refuses.
    """
    request, config = attachment.request, attachment.config
    if request.netns:
        _delete_container_link(attachment)
    if config.ip_masq:
        teardown_reference_masquerade(config.network, request.container_id, request.env)


def _delete_container_link(attachment: Attachment) -> None:
    try:
        descriptor = open_container_netns(attachment.request)
    except CniError as error:
        if error.code == INVALID_ENVIRONMENT:
            return  # the namespace is gone, and its links with it
        raise
    try:
        with entered(descriptor), NetlinkSocket() as sock:
            link = link_by_name(sock, attachment.ifname)
        if link is None or link.kind != "veth" or _is_of_another_network(link):
            return
        with entered(descriptor):
            link_del_announced(link.index)
    finally:
        os.close(descriptor)


def _is_of_another_network(link: Link) -> bool:
    """Tell whether shibafu attached the link to a network, which is not the one that is asked for.

    A runtime sends DEL after a failed ADD; what made that fail may have been this very link.
    """
    with NetlinkSocket() as sock:
        peer = link_by_index(sock, link.peer)
    return peer is not None and peer.peer == link.index and is_host_veth(peer.name)
