"""The veth pair between the bridge and the container, and the port that its host end is."""

import time
from errno import EBUSY, EEXIST, ENETDOWN, ENODEV

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.namespaces import Namespaces
from shibafu.bridge.resources.fabric import refuse_router_advertisements
from shibafu.cni.errors import INVALID_CONFIG, NETWORK_SETUP, CniError
from shibafu.cni.names import INTERNAL_GROUP
from shibafu.netlink.constants import BR_STATE_DISABLED, BR_STATE_FORWARDING, IF_OPER_UP
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import Link, link_add_veth, link_by_name, link_del, link_set, link_set_port
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.resource.view import View

# Pauses, in seconds, between looks at a port that packets do not get through yet.
_PAUSES = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 0.5, 1.0, 1.0)


class Port(Resource):
    """The host's end of a container's link, a port of the bridge.

    Args:
        config: the network's configuration.
        name: its name; it is another than ours where the reference's plugin made it.
    """

    __slots__ = ("_config", "_name")

    def __init__(self, config: BridgeConfig, name: str) -> None:
        self._config = config
        self._name = name

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        config, name = self._config, self._name
        link, bridge = view.link(name), view.link(config.bridge)
        if link is None:
            return [Fault(f"link {name} of the host is missing")]
        if bridge is None or link.master != bridge.index or link.port is None:
            return [Fault(f"link {name} is not a port of bridge {config.bridge}")]
        faults = []
        if not link.up:
            faults.append(Fault(f"link {name} of the host is down"))
        elif link.port.state == BR_STATE_DISABLED and link.operstate == IF_OPER_UP:
            faults.append(Fault(f"port {name} of bridge {bridge.name} is disabled", "somebody set its state"))
        if config.hairpin_mode and not link.port.hairpin:
            faults.append(Fault(f"hairpin mode of link {name} is off"))
        if config.port_isolation and not link.port.isolated:
            faults.append(Fault(f"link {name} is not isolated from other ports of bridge {bridge.name}"))
        if not config.port_isolation and link.port.isolated:
            faults.append(
                Fault(
                    f"link {name} is isolated from other ports of bridge {bridge.name}",
                    'somebody isolated it; the network lacks "portIsolation"',
                )
            )
        faults += self._find_internal_faults(link)
        if config.has_vlans:
            from shibafu.bridge.resources.vlans import find_vlan_faults

            faults += find_vlan_faults(view.sock, link, config.vlan, config.vlan_trunk)
        return faults

    def _find_internal_faults(self, link: Link) -> list[Fault]:
        if not self._config.internal and link.group != INTERNAL_GROUP:
            return []
        from shibafu.bridge.resources.internal import is_internal_port

        if not self._config.internal:
            return [Fault(f"link {link.name} is still kept from reaching the host")]
        if is_internal_port(link):
            return []
        return [
            Fault(
                f"link {link.name} is not kept from reaching the host, though its network is internal",
                "it was attached before the network was, or its group was changed; "
                "`shibafu network repair` mends it, or attach it again",
            )
        ]

    def ensure(self, view: "View") -> None:
        """See `Resource.ensure`. The link itself comes with the container's end, by ADD alone."""
        config, name = self._config, self._name
        link, bridge = link_by_name(view.sock, name), link_by_name(view.sock, config.bridge)
        if link is None or bridge is None:
            return
        is_new = link.master != bridge.index
        requests = [
            link_set(name, master=bridge.index, up=True),
            link_set_port(name, hairpin=config.hairpin_mode or None, isolated=config.port_isolation),
        ]
        if config.internal or link.group == INTERNAL_GROUP:
            from shibafu.bridge.resources.internal import calc_internal_port, calc_open_port

            requests += calc_internal_port(name) if config.internal else calc_open_port(name)
        if link.port is not None and link.port.state == BR_STATE_DISABLED and not is_new:
            # Where spanning tree is at work it decides, and refuses.
            requests.append(link_set_port(name, state=BR_STATE_FORWARDING).ignoring(EBUSY, ENETDOWN))
        view.sock.request_all(requests)
        if config.has_vlans:
            from shibafu.bridge.resources.vlans import calc_port_vlans, setup_port_vlans

            default = None if config.preserve_default_vlan else bridge.vlan_default_pvid
            vlans = calc_port_vlans(link.index, config.vlan, config.vlan_trunk, default)
            setup_port_vlans(view.sock, vlans)


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
