"""A host's part of an overlay network, as shibafu-overlay hands it over to a bridge plugin."""

from dataclasses import dataclass

from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, CniError, calc_line
from shibafu.lean.ip import Cidr, parse_cidr
from shibafu.networks.kernel import RouteTo
from shibafu.networks.spec import make_request
from shibafu.overlay.delegation import OverlayConfig
from shibafu.overlay.subnet_file import HostSubnet, require_host_subnet
from shibafu.runtime.conflist import NetworkList

# What answers to these names hands a host's part over to another plugin.
OVERLAYS = ("flannel", "shibafu-overlay")


@dataclass(frozen=True)
class OtherHost:
    """The part of another host: a range of addresses, and the link that packets to it take."""

    subnet: str
    link: str


@dataclass(frozen=True)
class OverlayPart:
    """What there is of an overlay network on this host.

    Args:
        subnet_file: the file that says so.
        networks: the ranges of the whole network.
        subnets: the host's own.
        mtu: in bytes.
        ip_masq: whether the agent masquerades.
        peers: the parts of other hosts, by the kernel's routes.
    """

    subnet_file: str
    networks: list[str]
    subnets: list[str]
    mtu: int
    ip_masq: bool
    peers: list[OtherHost]


class Overlay:
    """The overlay plugin of a chain.

    Args:
        config: the chain.
        stated: what it says of the plugin.

    Attributes:
        subnet_file: the file that says what this host's part is.
        plugin: the delegate's configuration, as the plugin would hand it over now.
        host: what the subnet file says; None where it says nothing.
        problem: why not; empty if it does.
        advice: what to do about that; may be empty.

    Raises:
        CniError: the plugin refuses its configuration.
    """

    def __init__(self, config: NetworkList, stated: dict[str, object]) -> None:
        read = OverlayConfig(make_request(config.name, stated, config.cni_version or "0.1.0"))
        self.subnet_file = read.subnet_file
        self.host: HostSubnet | None = None
        self.problem = self.advice = ""
        try:
            self.host = require_host_subnet(read.subnet_file, INVALID_CONFIG)
        except CniError as error:
            self.problem, self.advice = error.msg, error.details
        except OSError as error:
            self.problem = f"{read.subnet_file}: {calc_line(error.strerror or str(error))}"
        self.plugin = read.render(self.host)
        # A runtime gives to the delegate what it gives to this plugin.
        capabilities = Section(stated, "NetConf").get("capabilities")
        if capabilities is not None:
            self.plugin["capabilities"] = capabilities

    def look(self, routes: list[RouteTo]) -> OverlayPart | None:
        """Return what there is of it; None where the subnet file says nothing.

        Args:
            routes: the kernel's.
        """
        if self.host is None:
            return None
        subnets = [subnet.network for subnet in self.host.subnets]
        peers = [
            OtherHost(str(route.network), route.link)
            for route in routes
            if _leads_elsewhere(parse_cidr(str(route.network)), self.host.networks, subnets)
        ]
        return OverlayPart(
            self.subnet_file,
            [str(network) for network in self.host.networks],
            [str(subnet) for subnet in subnets],
            self.host.mtu,
            self.host.ip_masq,
            peers,
        )


def _leads_elsewhere(destination: Cidr, networks: list[Cidr], own: list[Cidr]) -> bool:
    """Return whether a destination is a part of a network that is not the host's own."""
    is_part = any(
        network.contains(destination.address) and network.prefix < destination.prefix for network in networks
    )
    return is_part and not any(destination.overlaps(subnet) for subnet in own)
