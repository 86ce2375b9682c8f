"""Which plugins of configured networks state policies; see `policy_networks`, which reads them."""

from collections.abc import Iterator
from dataclasses import dataclass

from shibafu.cni.config import Section, parse_config
from shibafu.networks.overlay_part import OVERLAYS
from shibafu.policy.stated_policies import POLICIES, POLICY_DIRECTORY
from shibafu.runtime.conflist import NetworkList, list_networks

_KEYS = (POLICIES, POLICY_DIRECTORY)
# Others pass over the keys.
_TYPES = ("bridge", "shibafu-bridge", "firewall", "shibafu-firewall")
# What an overlay's plugin has the bridge plugin do.
_DELEGATE = "delegate"


@dataclass(frozen=True)
class StatingPlugin:
    """A plugin that states policies.

    Args:
        network: the network.
        number: of the plugin in its chain.
        keys: of the object in the plugin's that states them; without any, it is the plugin's itself.
        section: that object.
    """

    network: NetworkList
    number: int
    keys: tuple[str, ...]
    section: Section

    @property
    def path(self) -> str:
        """The file of the plugin's configuration."""
        return self.network.plugin_paths[self.number]


def states_policies(conf_dir: str) -> bool:
    """Return whether any network's configuration states policies."""
    return any(True for network in list_networks(conf_dir, []) for _ in find_stating(network, []))


def find_stating(network: NetworkList, mistakes: list[str]) -> Iterator[StatingPlugin]:
    """Yield the plugins of a network that state policies.

    Args:
        network: the network.
        mistakes: gets where policies are stated to no effect.
    """
    whole = parse_config(network.raw)
    for key in _KEYS:
        if key in whole:
            mistakes.append(
                f'{network.path}: "{key}" has no effect next to "plugins": write it into a plugin'
            )
    for number, values in enumerate(network.plugins):
        for plugin in _list_objects(network, number, Section(values, "NetConf")):
            stated = [key for key in _KEYS if key in plugin.section]
            plugin_type = plugin.section.get("type")
            if stated and plugin_type in (*_TYPES, None):
                yield plugin
            elif stated:
                mistakes.append(
                    f'{plugin.path}: plugin {plugin_type} does not know "{stated[0]}": write it '
                    "into the object of shibafu-bridge, the delegate of shibafu-overlay, or shibafu-firewall"
                )


def _list_objects(network: NetworkList, number: int, section: Section) -> Iterator[StatingPlugin]:
    """Yield what may state policies, or seem to: a plugin, and the one that it calls for an overlay."""
    yield StatingPlugin(network, number, (), section)
    delegate = section.get(_DELEGATE)
    if section.text("type") in OVERLAYS and isinstance(delegate, dict):
        yield StatingPlugin(network, number, (_DELEGATE,), Section(delegate, "NetConf.delegate"))
