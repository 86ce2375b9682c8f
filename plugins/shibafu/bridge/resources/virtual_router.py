"""This host's part in a gateway that several hosts share."""

from errno import EADDRNOTAVAIL, EEXIST

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.keepalived import (
    calc_keepalived_path,
    find_obstacle,
    find_other_file,
    find_standstill,
    install_configuration,
    is_keepalived_told,
    read_configuration,
    remove_configuration,
    render_keepalived,
    require_keepalived,
)
from shibafu.bridge.resources.active_uplink import calc_outage_path
from shibafu.bridge.shared_gateway import SharedGateway
from shibafu.bridge.uplink_keys import ACTIVE_BACKUP
from shibafu.cni.boot import read_boot_id
from shibafu.cni.errors import INVALID_CONFIG, LIMITED_CONNECTIVITY, CniError
from shibafu.lean.ip import Address, Cidr
from shibafu.netlink.address import addr_add, addr_del
from shibafu.netlink.link import link_by_name
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import HOST, MEND, Fault, Resource
from shibafu.resource.records import NetworkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.cni.request import Request
    from shibafu.resource.view import View


class VirtualRouter(Resource):
    """The configuration by which keepalived gives the gateway's addresses to this host or to another one.

    It stays when the last container goes, as the bridge does: the gateway may be other hosts' way out.

    Args:
        config: the network's configuration.
        shared: what it states of the gateway.
        gateways: those that the container was given.
        port: the attachment's link on the host.
        env: the environment.
    """

    __slots__ = ("_config", "_env", "_gateways", "_is_created", "_port", "_shared")
    scope = HOST

    def __init__(
        self,
        config: BridgeConfig,
        shared: SharedGateway,
        gateways: list[Address],
        port: str,
        env: "Mapping[str, str]",
    ) -> None:
        self._config = config
        self._shared = shared
        self._gateways = gateways
        self._port = port
        self._env = env
        # Whether the network had no file before.
        self._is_created = False

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"shared gateway {self._config.gateway_link}"

    @classmethod
    def obstacle(cls, request: "Request", config: BridgeConfig) -> "CniError | None":
        """See `Resource.obstacle`: keepalived is missing, does not read the file, or does not run.

        Until the first container is attached, the file does not exist and keepalived is not needed. Its
        service would even fail to start: keepalived never reports readiness if an `include` matches no file.
        """
        obstacle = find_obstacle(request.env, config.network)
        if obstacle is None and read_configuration(config.network) is not None:
            obstacle = find_standstill()
        if obstacle is not None or config.shared_gateway is None:
            return obstacle
        with NetlinkSocket() as sock:
            links = {name: link_by_name(sock, name) for name in config.shared_gateway.tracked}
        absent = next((name for name, link in links.items() if link is None), "")
        return CniError(LIMITED_CONNECTIVITY, *_describe_absence(absent)) if absent else None

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {
            "file": calc_keepalived_path(self._config.network),
            "link": self._config.gateway_link,
            "addresses": [str(gateway.address) for gateway in self._shared.gateways],
            "virtualRouterID": self._shared.router_id,
            "priority": self._shared.priority,
        }

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`; on which host the addresses are makes no difference."""
        network = self._config.network
        path = calc_keepalived_path(network)
        obstacle = find_obstacle(self._env, network) or find_standstill()
        faults = []
        if obstacle is not None:
            faults.append(Fault(obstacle.msg, obstacle.details, is_mendable=False))
        for name in self._shared.tracked:
            if view.link(name) is None:
                faults.append(Fault(*_describe_absence(name), is_mendable=False))
        for address in self._find_fixed(view):
            what = f"address {address} of the shared gateway is always here, whichever host is the gateway"
            faults.append(Fault(what, f"the network had no gatewayHA; {MEND}"))
        if view.link(self._config.gateway_link) is not None and read_configuration(network) != self._render(
            view
        ):
            what = f"{path} is missing, or was not written for this configuration and link"
            faults.append(Fault(what))
        elif not is_keepalived_told(network):
            faults.append(Fault(f"keepalived was not told to read {path}", "an earlier call was killed"))
        return faults

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: containers were given another gateway, keepalived cannot do it, or does so already for
                another network.
            OSError: the file cannot be written.
        """
        self._shared.require(self._gateways)
        network = self._config.network
        require_keepalived(self._env, network)
        content, former = self._render(view), read_configuration(network)
        if former is None:
            self._refuse_another()
        if former != content or not is_keepalived_told(network):
            install_configuration(network, content.decode(), self._env)
            self._is_created = former is None
        # Last: containers need those that are here until keepalived can give them to a host.
        self._remove_fixed(view)
        return self._is_created

    def _refuse_another(self) -> None:
        """Refuse to have keepalived give the gateway to hosts for a second network on the same link.

        Raises:
            CniError: each would take from the link what the other one has given it.
        """
        link = self._config.gateway_link
        other = find_other_file(self._config.network, link)
        if other:
            what = f"{other} has keepalived give another network's gateway to {link} already"
            advice = (
                'only one network on a link can have "gatewayHA": remove the other one with its file, or '
                'choose another "bridge" or "vlan"'
            )
            raise CniError(INVALID_CONFIG, what, advice)

    def remove(self) -> None:
        """Remove the file if a failed ADD has created it, unless other containers depend on it by then."""
        network = self._config.network
        if self._is_created and not set(NetworkState(network).attachments()) - {self._port}:
            remove_configuration(network)

    def _remove_fixed(self, view: "View") -> None:
        link, fixed = view.link(self._config.gateway_link), self._find_fixed(view)
        if link is None or not fixed:
            return
        for ip in fixed:
            request = addr_del(link.index, ip.address.packed, ip.prefix)
            view.sock.request(request.ignoring(EADDRNOTAVAIL))
        # With a subnet's first address the kernel removes the others, unless promote_secondaries is set.
        for ip in self._shared.host_ips:
            view.sock.request(addr_add(link.index, ip.address.packed, ip.prefix).ignoring(EEXIST))

    def _find_fixed(self, view: "View") -> list[Cidr]:
        """Return the gateway's addresses that were given to the link for good, with the subnet's prefix."""
        link = view.link(self._config.gateway_link)
        present = view.addresses(link) if link is not None else set()
        return [g for g in self._shared.gateways if (g.address.packed, g.prefix) in present]

    def _render(self, view: "View") -> bytes:
        name = self._config.gateway_link
        link = view.link(name)
        incarnation = f"{name}, number {link.index if link is not None else 0} of boot {read_boot_id()}"
        uplinks = self._config.uplinks
        is_watched = uplinks is not None and uplinks.mode == ACTIVE_BACKUP
        outage = calc_outage_path(self._config.bridge) if is_watched else ""
        return render_keepalived(self._config.network, name, self._shared, incarnation, outage).encode()


def _describe_absence(name: str) -> tuple[str, str]:
    """Return what is wrong where a link that is tracked is not there, and what to do."""
    what = f"link {name}, which vrrpTrack names, is missing"
    return what, f'this host cannot have the gateway without it: connect {name}, or change "vrrpTrack"'
