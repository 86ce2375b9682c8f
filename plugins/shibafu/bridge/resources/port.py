"""The veth pair between the bridge and the container, and the port that its host end is."""

import time
from errno import EEXIST, ENODEV

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.namespaces import Namespaces
from shibafu.bridge.resources.fabric import refuse_router_advertisements
from shibafu.cni.errors import INVALID_CONFIG, NETWORK_SETUP, CniError
from shibafu.netlink.constants import BR_STATE_FORWARDING, IF_OPER_UP
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import Link, link_add_veth, link_by_name, link_del, link_set, link_set_port
from shibafu.netlink.socket import NetlinkSocket

# Pauses, in seconds, between looks at a port that packets do not get through yet.
_PAUSES = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 0.5, 1.0, 1.0)


def create_pair(attachment: Attachment, namespaces: Namespaces, bridge: Link) -> None:
    """Make the pair: one end a port of the bridge, the other in the container's namespace; both are down.

    The port stays down until the container is configured (`start_port`): from the moment that there is a
    carrier, the kernel's workers hold the lock of all links (RTNL) for as long as it takes to flood what
    IPv6 has to say to every container of the bridge, 3 ms with 200, and requests that come later wait.

    Raises:
        CniError: one of the two links is there already; it is left alone.
        NetlinkError: the kernel refuses.
    """
    pair = link_add_veth(
        attachment.host_link,
        attachment.ifname,
        namespaces.container_fd,
        mac=attachment.host_mac,
        peer_mac=attachment.mac,
        mtu=attachment.config.mtu or None,
        master=bridge.index,
        up=False,
    )
    try:
        namespaces.host.request(pair)
    except NetlinkError as error:
        if error.errno != EEXIST:
            raise
        raise refuse_existing(attachment, "somebody made it while it was being attached") from None


def setup_port(attachment: Attachment, namespaces: Namespaces, bridge: Link) -> None:
    """Give the pair's end on the host what the configuration says of ports.

    Raises:
        CniError: the kernel lacks a feature.
        NetlinkError: the kernel refuses.
    """
    config = attachment.config
    refuse_router_advertisements(attachment.host_link)
    if config.internal:
        from shibafu.bridge.resources.internal import calc_internal_port

        namespaces.host.request_all(calc_internal_port(attachment.host_link))
    if config.hairpin_mode or config.port_isolation:
        namespaces.host.request(
            link_set_port(
                attachment.host_link,
                hairpin=config.hairpin_mode or None,
                isolated=config.port_isolation or None,
            )
        )
    if config.has_vlans:
        from shibafu.bridge.resources.vlans import calc_port_vlans, setup_port_vlans

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


def start_port(attachment: Attachment, namespaces: Namespaces) -> Link:
    """Set the port up, and wait until packets get through: the container's first ones would be lost.

    Two things come later than the request: the bridge forwards, and the container's end, of which a worker
    of the kernel learns that it has a carrier (net/core/link_watch.c), begins to send.

    Returns:
        The port.

    Raises:
        CniError: they do not within three seconds.
        NetlinkError: ENODEV when the link is deleted meanwhile.
    """
    name = attachment.host_link
    namespaces.host.request(link_set(name, up=True))
    # The carrier of a link whose other end is left down never comes.
    is_dark = attachment.config.disable_container_interface
    for pause in _PAUSES:
        link = link_by_name(namespaces.host, name)
        if link is None:
            raise NetlinkError(ENODEV, what=f"cannot look at port {name}")
        is_forwarding = link.port is None or link.port.state == BR_STATE_FORWARDING
        if is_dark or (is_forwarding and _has_carrier(namespaces.container, attachment.ifname)):
            return link
        time.sleep(pause)
    if is_forwarding:
        raise CniError(
            NETWORK_SETUP,
            f"interface {attachment.ifname} has no carrier",
            "somebody set it down, or renamed it, while it was being attached",
        )
    raise CniError(
        NETWORK_SETUP,
        f"bridge port in error state: {name}",
        "the bridge does not forward for it; is spanning tree switched on, or the bridge down?",
    )


def _has_carrier(sock: NetlinkSocket, ifname: str) -> bool:
    link = link_by_name(sock, ifname)
    return link is not None and link.operstate == IF_OPER_UP
