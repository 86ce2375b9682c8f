"""What each network of a container is called with, found out before the first of them is called."""

from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.hook.settings import Settings
from shibafu.runtime.conflist import NetworkList


class Step:
    """One network of a container.

    Args:
        network: the network.
        ifname: the link inside the container.
    """

    __slots__ = ("args", "capabilities", "ifname", "network")

    def __init__(self, network: NetworkList, ifname: str) -> None:
        self.network = network
        self.ifname = ifname
        self.args: dict[str, str] = {}
        self.capabilities: dict[str, object] = {}

    def takes(self, capability: str) -> bool:
        """Tell whether a plugin of the chain declares a capability."""
        return any(
            Section(plugin, "NetConf").section("capabilities").values.get(capability) is True
            for plugin in self.network.plugins
        )

    def set_argument(self, key: str, value: str) -> None:
        """Set a pair of CNI_ARGS, which plugins that do not know it shall pass over."""
        self.args |= {"IgnoreUnknown": "1", key: value}


def calc_ifname(number: int) -> str:
    """Return the link of a container's network, counted from 0."""
    return f"eth{number}"


def calc_plan(networks: list[NetworkList], settings: Settings) -> list[Step]:
    """Return what to do, in this order.

    Raises:
        CniError: something is asked for that no plugin of these networks can do.
    """
    steps = [Step(network, calc_ifname(number)) for number, network in enumerate(networks)]
    for step in steps:
        _request_ips(step, settings.ips.get(step.network.name, []))
        mac = settings.macs.get(step.network.name)
        if mac and step.takes("mac"):
            step.capabilities["mac"] = mac
        elif mac:
            step.set_argument("MAC", mac)
    if settings.ports:
        # A port of the host leads to one address.
        _find_capable(steps, "portMappings")[0].capabilities["portMappings"] = settings.ports
    if settings.bandwidth:
        for step in _find_capable(steps, "bandwidth"):
            step.capabilities["bandwidth"] = settings.bandwidth
    return steps


def _request_ips(step: Step, ips: list[str]) -> None:
    if step.takes("ips") and ips:
        step.capabilities["ips"] = ips
    elif len(ips) == 1:
        step.set_argument("IP", ips[0])
    elif ips:
        raise CniError(
            INVALID_CONFIG,
            f'network "{step.network.name}" takes one requested address only',
            'add "capabilities": {"ips": true} to its plugin',
        )


def _find_capable(steps: list[Step], capability: str) -> list[Step]:
    capable = [step for step in steps if step.takes(capability)]
    if not capable:
        names = ", ".join(step.network.name for step in steps) or "none"
        raise CniError(
            INVALID_CONFIG,
            f"no plugin of the container's networks ({names}) takes {capability}",
            f'add a plugin with "capabilities": {{"{capability}": true}} to a chain',
        )
    return capable
