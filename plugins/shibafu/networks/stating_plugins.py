"""Which plugins of configured networks state policies; see `policy_networks`, which reads them."""

from collections.abc import Iterator

from shibafu.cni.config import Section, parse_config
from shibafu.policy.stated_policies import POLICIES, POLICY_DIRECTORY
from shibafu.runtime.conflist import NetworkList, list_networks

_KEYS = (POLICIES, POLICY_DIRECTORY)
# Others pass over the keys.
_TYPES = ("bridge", "shibafu-bridge", "firewall", "shibafu-firewall")


def states_policies(conf_dir: str) -> bool:
    """Return whether any network's configuration states policies."""
    return any(True for network in list_networks(conf_dir, []) for _ in find_stating(network, []))


def find_stating(network: NetworkList, mistakes: list[str]) -> Iterator[int]:
    """Yield the numbers of the plugins that state policies.

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
    for number, plugin in enumerate(network.plugins):
        section = Section(plugin, "NetConf")
        stated = [key for key in _KEYS if key in section]
        plugin_type = section.text("type")
        if stated and plugin_type not in _TYPES:
            mistakes.append(
                f'{network.plugin_paths[number]}: plugin {plugin_type} does not know "{stated[0]}": write it '
                "into the object of shibafu-bridge or shibafu-firewall"
            )
        elif stated:
            yield number
