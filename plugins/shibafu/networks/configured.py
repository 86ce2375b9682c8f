"""The networks that are configured on this machine, as the plugins read their configuration."""

from shibafu.bridge.config import BridgeConfig
from shibafu.cni.config import Section
from shibafu.cni.errors import CniError
from shibafu.cni.names import is_valid_identifier
from shibafu.lean.ip import Address, Cidr
from shibafu.networks.errors import CommandError
from shibafu.networks.overlay_part import OVERLAYS, Overlay
from shibafu.networks.spec import make_request
from shibafu.runtime.conflist import ConflistError, NetworkList, list_networks
from shibafu_ipam.config import DEFAULT_DATA_DIR, IpamConfig
from shibafu_ipam.ranges import RangeSet

# What answers to these names has the keys and the state on disk that this command knows.
_BRIDGES = ("bridge", "shibafu-bridge")
_IPAMS = ("host-local", "shibafu-ipam")


class ConfiguredNetwork:
    """A network of a configuration file.

    Args:
        config: the file.

    Attributes:
        stated: what its chain says of its bridge, or of whatever gives addresses.
        plugin: the same, or what an overlay's plugin makes of it for the bridge plugin that it calls.
        overlay: the overlay's plugin; None when its chain has none, or it refuses its configuration.
        bridge: the keys of its bridge plugin; None when its chain has none, or its keys would be refused.
        range_sets: the addresses that its containers get; empty when another plugin gives them.
        data_dir: where the leases are.
        problem: why its configuration would be refused; empty when it would not.
        advice: what to do about that.
    """

    def __init__(self, config: NetworkList) -> None:
        self.config = config
        self.bridge: BridgeConfig | None = None
        self.range_sets: list[RangeSet] = []
        self.data_dir = DEFAULT_DATA_DIR
        self.problem, self.advice = "", f"correct {config.path}"
        self.stated = self.plugin = _choose_plugin(config.plugins)
        self.overlay: Overlay | None = None
        try:
            if Section(self.stated, "NetConf").text("type") in OVERLAYS:
                self.overlay = Overlay(config, self.stated)
                self.plugin, self.problem = self.overlay.plugin, self.overlay.problem
                self.advice = self.overlay.advice or self.advice
            request = make_request(config.name, self.plugin, config.cni_version or "0.1.0")
            if request.config.text("type") in _BRIDGES:
                self.bridge = BridgeConfig(request)
            stated_ipam = request.config.section("ipam")
            if stated_ipam.text("type") in _IPAMS:
                # Without a subnet file there are leases all the same.
                self.data_dir = stated_ipam.text("dataDir") or DEFAULT_DATA_DIR
                if not self.problem:
                    ipam = IpamConfig(request)
                    self.range_sets, self.data_dir = ipam.range_sets, ipam.data_dir
        except CniError as error:
            self.problem, self.advice = error.msg, f"correct {config.path}"

    @property
    def name(self) -> str:
        """The network's name."""
        return self.config.name

    @property
    def types(self) -> list[str]:
        """The names of its plugins, in the order in which ADD calls them."""
        return [Section(plugin, "NetConf").text("type") for plugin in self.config.plugins]

    @property
    def subnets(self) -> list[Cidr]:
        """The subnets that its containers' addresses are of."""
        return list(dict.fromkeys(one.subnet for ranges in self.range_sets for one in ranges.ranges))

    def find_gateway(self, address: Address) -> Address | None:
        """Return the gateway that IPAM hands over with an address; None when the address is not of here."""
        for ranges in self.range_sets:
            one = ranges.range_of(address)
            if one is not None:
                return one.gateway
        return None

    def declares(self, capability: str) -> bool:
        """Return whether one of its plugins takes an argument by a capability."""
        stated = [plugin.get("capabilities") for plugin in self.config.plugins]
        return any(isinstance(capabilities, dict) and capabilities.get(capability) for capabilities in stated)


def _choose_plugin(plugins: list[dict[str, object]]) -> dict[str, object]:
    """Return the plugin of a chain that makes the network: its bridge, or else what has an IPAM plugin.

    Others may come before it; Nomad's chains begin with `loopback`.
    """
    sections = [Section(plugin, "NetConf") for plugin in plugins]
    bridges = (section.values for section in sections if section.text("type") in (*_BRIDGES, *OVERLAYS))
    with_ipam = (section.values for section in sections if "ipam" in section)
    return next(bridges, next(with_ipam, plugins[0]))


def load_networks(directory: str, names: list[str], broken: list[ConflistError]) -> list[ConfiguredNetwork]:
    """Return the networks of a directory.

    Args:
        directory: where they are configured.
        names: which; empty for all.
        broken: takes what is wrong with files that are not networks; where names are stated, other
            files do not matter.

    Raises:
        CommandError: there is no network of one of the names.
        ConflistError: the directory cannot be listed.
    """
    unusable: list[ConflistError] = []
    found = {}
    for network in list_networks(directory, unusable):
        if is_valid_identifier(network.name):
            found[network.name] = network
        else:  # no plugin takes it, and it would lead to other directories
            unusable.append(
                ConflistError(network.path, f'"{network.name}" is not a valid name for a network')
            )
    for name in names:
        if name not in found:
            raise unknown_network(name, directory, sorted(found), unusable)
    if not names:
        broken += unusable
    return [ConfiguredNetwork(found[name]) for name in names or found]


def load_network(directory: str, name: str) -> ConfiguredNetwork:
    """Return one network; see `load_networks`."""
    return load_networks(directory, [name], [])[0]


def unknown_network(name: str, directory: str, known: list[str], broken: list[ConflistError]) -> CommandError:
    """Return the error for a name that no network has; perhaps it is the one of a broken file."""
    hints = [
        f"existing networks: {', '.join(known)}" if known else f"create it: shibafu network create {name}"
    ]
    hints += [f"cannot be used: {error.msg}" for error in broken]
    return CommandError(f"there is no network {name} in {directory}", "; ".join(hints))
