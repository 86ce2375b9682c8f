"""The port of the bridge that the host's end of a container's link is."""

from shibafu.bridge.config import BridgeConfig
from shibafu.cni.names import INTERNAL_GROUP
from shibafu.netfilter.forwarding import refuse_router_advertisements
from shibafu.netlink.constants import DEVCONF_ACCEPT_RA
from shibafu.netlink.link import Link
from shibafu.netlink.link_requests import link_set, link_set_port
from shibafu.resource.base import MEND, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.netlink.socket import NetlinkRequest
    from shibafu.resource.claim import Claim
    from shibafu.resource.view import View


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
                    f'isolation was turned on, but the network has no "portIsolation"; {MEND}',
                )
            )
        if config.mtu and link.mtu != config.mtu:
            faults.append(Fault(f"link {name} of the host has an MTU of {link.mtu}, not {config.mtu}"))
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
            what = f"link {link.name} is still cut off from the host"
            return [Fault(what, f"the network was internal when it was attached; {MEND}")]
        if is_internal_port(link):
            return []
        return [
            Fault(
                f"link {link.name} can reach the host, although its network is internal",
                f"it was attached before the network became internal, or its group was changed; {MEND}",
            )
        ]

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"port {self._name}"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        config = self._config
        wanted: dict[str, object] = {"name": self._name, "bridge": config.bridge}
        wanted |= {"portIsolation": config.port_isolation, "internal": config.internal}
        for key, value in (
            ("hairpinMode", config.hairpin_mode),
            ("mtu", config.mtu),
            ("vlan", config.vlan),
            ("vlanTrunk", config.vlan_trunk),
        ):
            if value:
                wanted[key] = value
        return wanted

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

    def _calc_requests(self, link: Link, bridge: Link) -> "list[NetlinkRequest]":
        """Return the requests for what differs from the configuration."""
        config, name = self._config, self._name
        is_port = link.master == bridge.index
        requests = [] if is_port else [link_set(name, master=bridge.index)]
        if config.mtu and link.mtu != config.mtu:
            requests.append(link_set(name, mtu=config.mtu))
        # Those of another bridge's port do not come with it.
        port = link.port if is_port else None
        has_hairpin, is_isolated = (port.hairpin, port.isolated) if port is not None else (False, False)
        if config.hairpin_mode and not has_hairpin:
            requests.append(link_set_port(name, hairpin=True))
        if is_isolated != config.port_isolation:
            requests.append(link_set_port(name, isolated=config.port_isolation))
        if config.internal or link.group == INTERNAL_GROUP:
            from shibafu.bridge.resources.internal import calc_internal_port, calc_open_port

            if config.internal and self._claim is not None:
                self._claim.note_port_rules(is_internal=True)
            requests += calc_internal_port(name) if config.internal else calc_open_port(name)
        return requests

    def remove(self) -> None:
        """Leave it: it goes with the link."""
