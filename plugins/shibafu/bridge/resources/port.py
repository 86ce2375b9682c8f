"""The veth pair between the bridge and the container, and the port that its host end is."""

from errno import EEXIST

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.resources.fabric import refuse_router_advertisements
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.names import INTERNAL_GROUP
from shibafu.netlink.constants import DEVCONF_ACCEPT_RA
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import Link, link_add_veth, link_set, link_set_port
from shibafu.resource.base import Fault, Resource
from shibafu.resource.records import link_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.bridge.namespaces import Namespaces
    from shibafu.netlink.socket import Request
    from shibafu.resource.claim import Claim
    from shibafu.resource.view import View


class Pair(Resource):
    """The veth pair: one end a port of the bridge, the other in the container's namespace. Only ADD makes it.

    Both are down, and the port stays so until the container is configured (`Carrier`): from the moment
    that there is a carrier, the kernel's workers hold the lock of all links (RTNL) for as long as it takes to
    flood what IPv6 has to say to every container of the bridge, 3 ms with 200, and later requests wait.

    Args:
        attachment: whose.
        claim: the claim to it.
    """

    __slots__ = ("_attachment", "_claim", "_is_ours")

    def __init__(self, attachment: Attachment, claim: "Claim") -> None:
        self._attachment = attachment
        self._claim = claim
        self._is_ours = True

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"link {self._attachment.host_link}"

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: one of the two links is there already, which is left alone; or a DEL came before.
            NetlinkError: the kernel refuses.
        """
        attachment, bridge = self._attachment, view.link(self._attachment.config.bridge)
        self._is_ours = False
        pair = link_add_veth(
            attachment.host_link,
            attachment.ifname,
            view.inside.descriptor if view.inside is not None else -1,
            mac=attachment.host_mac,
            peer_mac=attachment.mac,
            mtu=attachment.config.mtu or None,
            master=bridge.index if bridge is not None else None,
            up=False,
        )
        try:
            view.sock.request(pair)
        except NetlinkError as error:
            if error.errno != EEXIST:
                raise
            raise refuse_existing(attachment, "somebody made it while it was being attached") from None
        self._is_ours = True
        # From here on, DEL sees the link.
        self._claim.require()
        return True

    def remove(self) -> None:
        """See `Resource.remove`. One that was there before is somebody else's."""
        if self._is_ours:
            from shibafu.netlink.teardown import link_del_announced

            link_del_announced(self._attachment.host_link)


class Port(Resource):
    """The host's end of a container's link, a port of the bridge.

    Args:
        config: the network's configuration.
        name: its name; it is another than ours where the reference's plugin made it.
        claim: the claim to the attachment; None when there is none.
    """

    __slots__ = ("_claim", "_config", "_name")

    def __init__(self, config: BridgeConfig, name: str, claim: "Claim | None" = None) -> None:
        self._config = config
        self._name = name
        self._claim = claim

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        config, name = self._config, self._name
        link, bridge = view.link(name), view.link(config.bridge)
        if link is None:
            return [Fault(f"link {name} of the host is missing")]
        if bridge is None or link.master != bridge.index or link.port is None:
            return [Fault(f"link {name} is not a port of bridge {config.bridge}")]
        faults = []
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

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"port {self._name}"

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`. The link itself comes with the container's end, by `Pair`.

        Raises:
            CniError: the kernel lacks a feature.
            NetlinkError: the kernel refuses.
        """
        config, name = self._config, self._name
        link, bridge = view.link(name), view.link(config.bridge)
        if link is None or bridge is None:
            return False
        if link.inet6_conf(DEVCONF_ACCEPT_RA) != 0:
            refuse_router_advertisements(name)
        requests = self._calc_requests(link, bridge)
        if requests:
            view.sock.request_all(requests)
        if config.has_vlans:
            from shibafu.bridge.resources.vlans import calc_port_vlans, setup_port_vlans

            default = None if config.preserve_default_vlan else bridge.vlan_default_pvid
            vlans = calc_port_vlans(link.index, config.vlan, config.vlan_trunk, default)
            setup_port_vlans(view.sock, vlans)
        return False

    def _calc_requests(self, link: Link, bridge: Link) -> "list[Request]":
        """Return the requests for what differs from the configuration."""
        config, name = self._config, self._name
        is_port = link.master == bridge.index
        requests = [] if is_port else [link_set(name, master=bridge.index)]
        # Those of another bridge's port do not come with it.
        port = link.port if is_port else None
        hairpin = config.hairpin_mode and not (port is not None and port.hairpin)
        is_isolated = port is not None and port.isolated
        if hairpin or is_isolated != config.port_isolation:
            isolated = config.port_isolation if is_isolated != config.port_isolation else None
            requests.append(link_set_port(name, hairpin=hairpin or None, isolated=isolated))
        if config.internal or link.group == INTERNAL_GROUP:
            from shibafu.bridge.resources.internal import calc_internal_port, calc_open_port

            if config.internal and self._claim is not None:
                self._claim.note_barrier()
            requests += calc_internal_port(name) if config.internal else calc_open_port(name)
        return requests

    def remove(self) -> None:
        """Leave it: it goes with the link."""


def refuse_if_attached(attachment: Attachment, namespaces: "Namespaces") -> None:
    """Refuse an interface that is there already, before anything of it could be touched.

    Raises:
        CniError: it is.
    """
    with namespaces.entered_container():
        exists = link_exists(attachment.ifname)
    if exists:
        raise refuse_existing(attachment, "DEL that interface first, or choose another CNI_IFNAME")
    if link_exists(attachment.host_link):
        raise refuse_existing(attachment, "the container is attached from another namespace; DEL that first")


def refuse_existing(attachment: Attachment, details: str) -> CniError:
    """Return the refusal of an interface that is there already."""
    names = f'container veth name ("{attachment.ifname}") peer provided ("{attachment.host_link}")'
    return CniError(INVALID_CONFIG, f"{names} already exists", details)
