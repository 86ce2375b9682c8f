"""The veth pair between the bridge and the container, and the port that its host end is."""

import time
from errno import EEXIST, ENODEV

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.host import refuse_router_advertisements
from shibafu.bridge.namespaces import Namespaces
from shibafu.cni.errors import INVALID_CONFIG, NETWORK_SETUP, CniError
from shibafu.netlink.constants import BR_STATE_FORWARDING
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import Link, link_add_veth, link_by_name, link_del, link_set_port
from shibafu.netlink.socket import NetlinkSocket

# Pauses, in seconds, between looks at a port that the bridge has not begun to forward for.
_PAUSES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 0.5, 1.0, 1.0)


def setup_port(attachment: Attachment, namespaces: Namespaces, bridge: Link) -> None:
    """Make the pair: one end a port of the bridge, the other, still down, in the container's namespace.

    Raises:
        CniError: the container has such a link, or the kernel lacks a feature.
        NetlinkError: the kernel refuses.
    """
    config = attachment.config
    pair = link_add_veth(
        attachment.host_link,
        attachment.ifname,
        namespaces.container_fd,
        mac=attachment.host_mac,
        peer_mac=attachment.mac,
        mtu=config.mtu or None,
        master=bridge.index,
    )
    try:
        namespaces.host.request(pair)
    except NetlinkError as error:
        if error.errno != EEXIST:
            raise
        raise refuse_existing(attachment, "another call is attaching the same interface") from None
    refuse_router_advertisements(attachment.host_link)
    if config.hairpin_mode or config.port_isolation:
        namespaces.host.request(
            link_set_port(
                attachment.host_link,
                hairpin=config.hairpin_mode or None,
                isolated=config.port_isolation or None,
            )
        )
    if config.has_vlans:
        from shibafu.bridge.vlans import calc_port_vlans, setup_port_vlans

        port = link_by_name(namespaces.host, attachment.host_link)
        if port is not None:
            default = None if config.preserve_default_vlan else bridge.vlan_default_pvid
            setup_port_vlans(
                namespaces.host, calc_port_vlans(port.index, config.vlan, config.vlan_trunk, default)
            )


def refuse_existing(attachment: Attachment, details: str) -> CniError:
    """Return the refusal of an interface that is there already."""
    names = f'container veth name ("{attachment.ifname}") peer provided ("{attachment.host_link}")'
    return CniError(INVALID_CONFIG, f"{names} already exists", details)


def teardown_port(sock: NetlinkSocket, host_link: str) -> None:
    """Delete the pair by its end on the host; no error when it is gone."""
    sock.request(link_del(host_link).ignoring(ENODEV))


def wait_until_forwarding(attachment: Attachment, sock: NetlinkSocket) -> Link:
    """Wait until the bridge forwards for the port: before that, the container's first packets are lost.

    Returns:
        The port.

    Raises:
        CniError: it does not within three seconds.
    """
    name = attachment.host_link
    for pause in _PAUSES:
        link = link_by_name(sock, name)
        if link is None:
            raise CniError(NETWORK_SETUP, f"link {name} was deleted while the container was attached")
        # The carrier of a link whose other end is left down never comes.
        is_dark = attachment.config.disable_container_interface
        if is_dark or link.port is None or link.port.state == BR_STATE_FORWARDING:
            return link
        time.sleep(pause)
    raise CniError(
        NETWORK_SETUP,
        f"bridge port in error state: {name}",
        "the bridge does not forward for it; is spanning tree switched on, or the bridge down?",
    )
