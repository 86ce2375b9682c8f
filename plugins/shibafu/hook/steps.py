"""What each network of a container is called with, found out before the first of them is called."""

from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.hook.settings import Settings
from shibafu.runtime.conflist import NetworkList
from shibafu.runtime.roles import ROLES, has_capability, tell_ports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    # What puts a plugin of a capability into a network's chain, if there is one.
    Append = Callable[[NetworkList, str], NetworkList | None]


class Step:
    """One network of a container.

    Args:
        network: the network.
        ifname: the link inside the container.

    Attributes:
        is_preference: whether the container can also live with other addresses than those asked for.
    """

    __slots__ = ("args", "capabilities", "ifname", "is_preference", "network")

    def __init__(self, network: NetworkList, ifname: str) -> None:
        self.network = network
        self.ifname = ifname
        self.args: dict[str, str] = {}
        self.capabilities: dict[str, object] = {}
        self.is_preference = False

    def takes(self, capability: str) -> bool:
        """Return whether a plugin of the chain declares a capability."""
        return has_capability(self.network, capability)

    def drop_ips(self) -> None:
        """Ask for any addresses."""
        self.args.pop("IP", None)
        self.capabilities.pop("ips", None)

    def set_argument(self, key: str, value: str) -> None:
        """Set a pair of CNI_ARGS, which plugins that do not know it pass over."""
        self.args |= {"IgnoreUnknown": "1", key: value}


def calc_ifname(number: int) -> str:
    """Return the link of a container's network, counted from 0."""
    return f"eth{number}"


def calc_steps(
    networks: list[NetworkList],
    settings: Settings,
    former_ips: "Mapping[str, list[str]]",
    append: "Append",
) -> list[Step]:
    """Return what to do, in this order.

    Args:
        networks: the container's networks.
        settings: what is asked for.
        former_ips: the addresses that the container had before, by network; it gets them again if they
            are free and no others are asked for.
        append: puts a plugin into the chain of a network that has none for a capability.

    Raises:
        CniError: something is asked for that no plugin of these networks can do.
    """
    steps = [Step(network, calc_ifname(number)) for number, network in enumerate(networks)]
    for step in steps:
        name = step.network.name
        step.args |= settings.policy_args
        ips = settings.ips.get(name, [])
        if not ips and (step.takes("ips") or len(former_ips.get(name, [])) == 1):
            ips = former_ips.get(name, [])
            step.is_preference = bool(ips)
        _request_ips(step, ips)
        mac = settings.macs.get(name)
        if mac and step.takes("mac"):
            step.capabilities["mac"] = mac
        elif mac:
            step.set_argument("MAC", mac)
    give_capabilities(steps, settings, append)
    return steps


def give_capabilities(steps: list[Step], settings: Settings, append: "Append") -> None:
    """Have ports published, and limits set, by plugins of the networks' chains.

    Args:
        steps: a container's networks.
        settings: what is asked for.
        append: puts a plugin into the chain of a network that has none for a capability.

    Raises:
        CniError: something is asked for that no plugin of these networks can do.
    """
    if settings.ports:
        # A port of the host leads to one address.
        step = _find_capable(steps[:1], steps, "portMappings", append)[0]
        step.network = tell_ports(step.network)
        step.capabilities["portMappings"] = settings.ports
    if settings.bandwidth:
        for step in _find_capable(steps, steps, "bandwidth", append):
            step.capabilities["bandwidth"] = settings.bandwidth


def _request_ips(step: Step, ips: list[str]) -> None:
    if step.takes("ips") and ips:
        step.capabilities["ips"] = ips
    elif len(ips) == 1:
        step.set_argument("IP", ips[0])
    elif ips:
        raise CniError(
            INVALID_CONFIG,
            f'network "{step.network.name}" accepts only one requested address',
            'add "capabilities": {"ips": true} to its plugin',
        )


def _find_capable(candidates: list[Step], steps: list[Step], capability: str, append: "Append") -> list[Step]:
    """Return the steps whose chains take a capability; if there are none, give it to the candidates'."""
    capable = [step for step in steps if step.takes(capability)]
    if capable:
        return capable
    for step in candidates:
        network = append(step.network, capability)
        if network is not None:
            step.network = network
            capable.append(step)
    if not capable:
        names = ", ".join(step.network.name for step in steps) or "none"
        raise CniError(
            INVALID_CONFIG,
            f"no plugin of the container's networks ({names}) takes {capability}",
            f'install {" or ".join(ROLES[capability])}, or add a plugin with "capabilities": '
            f'{{"{capability}": true}} to a chain',
        )
    return capable
