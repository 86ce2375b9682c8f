"""The network as etcd describes it for all hosts: flannel's key `<prefix>/config`.

Defaults and refusals are those of flannel's `CheckNetworkConfig` (pkg/subnet/config.go).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, TypeVar

from shibafu.overlay.errors import OverlayError

# The kernel's own port, also where the configuration says 0; not IANA's 4789.
DEFAULT_PORT = 8472
DEFAULT_VNI = 1
# What VXLAN adds to a packet over IPv4, and over IPv6.
OVERHEAD, OVERHEAD6 = 50, 70
LARGEST_VNI, LARGEST_PORT = 0xFFFFFF, 65535
SMALLEST_MTU, LARGEST_MTU = 576, 65535

_WORDS = {
    "subnets": "IPv4 subnets",
    "subnets6": "IPv6 subnets",
    "vni": "VNI",
    "port": "UDP port",
    "mtu": "MTU",
    "direct_routing": "direct routing",
    "gbp": "GBP",
}
_Network = TypeVar("_Network", IPv4Network, IPv6Network)


@dataclass(frozen=True)
class SubnetRange:
    """The subnets that hosts get, of one family.

    Args:
        network: what they are parts of.
        length: of each subnet's prefix.
        first: the first subnet's address as an integer.
        last: the last one's.
    """

    network: IPv4Network | IPv6Network
    length: int
    first: int
    last: int

    @property
    def count(self) -> int:
        """How many hosts there can be."""
        return (self.last - self.first) // self._step + 1

    def calc_subnet(self, number: int) -> Any:
        """Return the subnet of that number, counted from 0."""
        return type(self.network)((self.first + number * self._step, self.length))

    def find_number(self, subnet: IPv4Network | IPv6Network) -> int | None:
        """Return the number of a subnet; None if it is not one of them."""
        number, rest = divmod(int(subnet.network_address) - self.first, self._step)
        is_one = subnet.prefixlen == self.length and not rest and 0 <= number < self.count
        return number if is_one and subnet.version == self.network.version else None

    def find_numbers(self, subnet: IPv4Network | IPv6Network) -> range:
        """Return the numbers of all subnets that have an address in common with a network."""
        first = (int(subnet.network_address) - self.first) // self._step
        last = (int(subnet.broadcast_address) - self.first) // self._step
        return range(max(first, 0), min(last, self.count - 1) + 1)

    @property
    def _step(self) -> int:
        return 1 << (self.network.max_prefixlen - self.length)


@dataclass(frozen=True)
class ClusterNetwork:
    """The network of a cluster.

    Args:
        subnets: those of IPv4.
        subnets6: those of IPv6; None for a network without.
        vni: the VXLAN's number.
        port: the UDP port of all hosts.
        mtu: of the links between hosts; 0 for what each host's has.
        direct_routing: whether hosts on the same link do without VXLAN.
        gbp: whether packets carry the number of a group policy.
    """

    subnets: SubnetRange
    subnets6: SubnetRange | None = None
    vni: int = DEFAULT_VNI
    port: int = DEFAULT_PORT
    mtu: int = 0
    direct_routing: bool = False
    gbp: bool = False

    @property
    def ranges(self) -> list[SubnetRange]:
        """The subnets of all families that it has."""
        return [self.subnets] if self.subnets6 is None else [self.subnets, self.subnets6]

    @property
    def count(self) -> int:
        """How many hosts there can be."""
        return min(self.subnets.count, self.subnets6.count) if self.subnets6 else self.subnets.count


def parse_cluster_network(text: str | bytes) -> ClusterNetwork:
    """Parse the value of the key `<prefix>/config`.

    Raises:
        OverlayError: it is invalid, or describes what is not supported here.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OverlayError(f"the network's configuration in etcd is not JSON: {error}") from None
    keys = _Keys(document, "the network's configuration in etcd")
    if not keys.take("EnableIPv4", bool, True):
        raise OverlayError(
            "networks without IPv4 are not supported",
            "nor by flannel with etcd: remove EnableIPv4, and keep EnableIPv6 for both families",
        )
    subnets = _read_range(keys, IPv4Network, IPv4Address, "")
    subnets6 = None
    if keys.take("EnableIPv6", bool, False):
        subnets6 = _read_range(keys, IPv6Network, IPv6Address, "IPv6")
    backend = _Keys(keys.take("Backend", dict, {}), "the key Backend of the network's configuration in etcd")
    kind = backend.take("Type", str, "")
    if kind.lower() != "vxlan":
        raise OverlayError(
            f'the network\'s backend is "{kind}", but only vxlan is supported'
            if kind
            else "the network's configuration in etcd has no backend, which means udp to flannel",
            'its configuration needs "Backend": {"Type": "vxlan"}',
        )
    if backend.take("Learning", bool, False):
        raise OverlayError("the network's backend has Learning, which is not supported", "remove that key")
    return ClusterNetwork(
        subnets,
        subnets6,
        backend.number("VNI", DEFAULT_VNI, 0, LARGEST_VNI),
        backend.number("Port", 0, 0, LARGEST_PORT) or DEFAULT_PORT,
        backend.number("MTU", 0, SMALLEST_MTU, LARGEST_MTU),
        backend.take("DirectRouting", bool, False),
        backend.take("GBP", bool, False),
    )


def find_redescription(applied: ClusterNetwork, text: bytes | None) -> tuple[str, str]:
    """Return how etcd describes a network otherwise than before, and what to do; both empty if it does not.

    Args:
        applied: what has been read of it.
        text: the value of the key `<prefix>/config` now; None for none.
    """
    if text is None:
        return "the network's description has been removed from etcd", "write it again: shibafu overlay init"
    try:
        described = parse_cluster_network(text)
    except OverlayError as error:
        return (
            f"the network's description in etcd has been changed, and is invalid: {error.message}",
            error.hint,
        )
    changed = [word for key, word in _WORDS.items() if getattr(described, key) != getattr(applied, key)]
    if not changed:
        return "", ""
    return (
        f"the network's description in etcd has changed since the agent read it: {', '.join(changed)}",
        "restart the agent, on all hosts: systemctl restart shibafu-overlay",
    )


def format_cluster_network(network: ClusterNetwork) -> str:
    """Return the value of the key `<prefix>/config`; what has flannel's default is left out."""
    document: dict[str, object] = {
        "Network": str(network.subnets.network),
        "SubnetLen": network.subnets.length,
    }
    if network.subnets6 is not None:
        document |= {
            "EnableIPv6": True,
            "IPv6Network": str(network.subnets6.network),
            "IPv6SubnetLen": network.subnets6.length,
        }
    backend: dict[str, object] = {"Type": "vxlan", "VNI": network.vni}
    if network.port != DEFAULT_PORT:
        backend["Port"] = network.port
    if network.mtu:
        backend["MTU"] = network.mtu
    if network.direct_routing:
        backend["DirectRouting"] = True
    return json.dumps(document | {"Backend": backend})


def calc_range(network: _Network, length: int = 0) -> SubnetRange:
    """Return the subnets of a network; its first one is never given to a host.

    Args:
        network: all of it.
        length: of a subnet's prefix; 0 for flannel's default.

    Raises:
        OverlayError: the network is too small.
    """
    bits = network.max_prefixlen
    usual, most = (24, 30) if network.version == 4 else (64, 126)
    if length:
        if length > most:
            raise OverlayError(
                f"subnets of {network} cannot have the length /{length}", f"/{most} is the longest"
            )
        if length < network.prefixlen + 2:
            raise OverlayError(
                f"{network} is too small for subnets of the length /{length}",
                f"there must be four of them: make them /{network.prefixlen + 2} or longer",
            )
    elif network.prefixlen > most - 2:
        raise OverlayError(f"{network} is too small", f"the smallest network is a /{most - 2}")
    else:
        length = usual if network.prefixlen <= usual - 2 else network.prefixlen + 2
    step = 1 << (bits - length)
    return SubnetRange(
        network,
        length,
        int(network.network_address) + step,
        int(network.broadcast_address) + 1 - step,
    )


def _read_range(
    keys: "_Keys", of_network: type[_Network], of_address: Callable[[str], Any], family: str
) -> SubnetRange:
    name = f"{family}Network"
    text = keys.take(name, str, "")
    if not text:
        raise OverlayError(f"the network's configuration in etcd lacks the key {name}")
    network = _parse(text, name, lambda value: of_network(value, strict=False))
    usual = calc_range(network, keys.number(f"{family}SubnetLen", 0, 0, network.max_prefixlen))
    bounds = []
    for which, default in (("Min", usual.first), ("Max", usual.last)):
        key = f"{family}Subnet{which}"
        stated = keys.take(key, str, "")
        bound = int(_parse(stated, key, of_address)) if stated else default
        if not int(network.network_address) <= bound <= int(network.broadcast_address):
            raise OverlayError(f"{key} {stated} is outside of {network}")
        if bound % (1 << (network.max_prefixlen - usual.length)):
            raise OverlayError(f"{key} {stated} is not the beginning of a subnet of length /{usual.length}")
        bounds.append(bound)
    if bounds[0] > bounds[1]:
        raise OverlayError(f"{family}SubnetMin is above {family}SubnetMax")
    return SubnetRange(network, usual.length, *bounds)


def _parse(text: str, key: str, convert: Callable[[str], Any]) -> Any:
    try:
        return convert(text)
    except ValueError as error:
        raise OverlayError(f"{key} in the network's configuration in etcd is invalid: {error}") from None


class _Keys:
    """An object of JSON whose keys match without regard to case, as Go has them.

    Args:
        document: the object.
        what: what errors call it.
    """

    def __init__(self, document: object, what: str) -> None:
        if not isinstance(document, Mapping):
            raise OverlayError(f"{what} is not an object")
        self._entries = {str(key).lower(): value for key, value in document.items()}
        self._what = what

    def take(self, key: str, kind: type, default: Any) -> Any:
        """Return a value, or the default where it is absent or null."""
        value = self._entries.get(key.lower())
        if value is None:
            return default
        if type(value) is not kind:
            raise OverlayError(f"{key} in {self._what} is not {_KINDS[kind]}")
        return value

    def number(self, key: str, default: int, least: int, most: int) -> int:
        """Return a number within bounds; 0 is absent."""
        value: int = self.take(key, int, default)
        if value != default and not least <= value <= most:
            raise OverlayError(f"{key} in {self._what} is not a number from {least} to {most}")
        return value


_KINDS = {bool: "true or false", int: "a whole number", str: "a string", dict: "an object"}
