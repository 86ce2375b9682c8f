"""A network as people state it, and the conflist that it becomes.

The conflist states 0.4.0 for runtimes of old, which know `cniVersion` only, and newer versions in
`cniVersions` for those that choose (specification 1.1.0, section 1).
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from json import dumps
from typing import Any

from shibafu.bridge.config import BridgeConfig
from shibafu.cni.config import Section
from shibafu.cni.names import IPTABLES, MAX_FILE_NAME, NFTABLES, STRICT, calc_digest, is_valid_identifier
from shibafu.cni.request import Request
from shibafu.container.specification import HOST_NETWORK, NO_NETWORK
from shibafu.networks.errors import CommandError, UsageError
from shibafu.networks.kernel import Network
from shibafu_ipam.config import IpamConfig

Address = IPv4Address | IPv6Address

# The network that everybody has who names no other.
DEFAULT_NETWORK = "bridge"
BRIDGE_TYPE = "shibafu-bridge"
IPAM_TYPE = "shibafu-ipam"
_VERSIONS = ["0.4.0", "1.0.0", "1.1.0"]
_CAPABILITIES = {"ips": True, "mac": True}
# Keys of shibafu-bridge that `--driver-opt` sets; the others have options of their own.
DRIVER_OPTIONS = {
    "acceptRA": bool,
    "enabledad": bool,
    "forceAddress": bool,
    "gatewayHA": str,
    "gatewayHostIP": list,
    "hairpinMode": bool,
    "ipMasqBackend": str,
    "ipspoofchk": bool,
    "keepIPv6": bool,
    "macspoofchk": bool,
    "metric": int,
    "moveAddresses": bool,
    "portIsolation": bool,
    "preserveDefaultVlan": bool,
    "primaryReselect": str,
    "promiscMode": bool,
    "uplinkMode": str,
    "uplinkProbe": str,
    "uplinks": list,
    "vlan": int,
    "vrrpID": int,
    "vrrpPriority": int,
    "vrrpTrack": list,
}
# A file is called by the network's name and a suffix.
_MAX_NAME = MAX_FILE_NAME - len(".conflist")
_MIN_IPV6_MTU = 1280  # RFC 8200 section 5; the kernel has no IPv6 on links of less
_TYPE_NAMES = {bool: "true or false", int: "a whole number", list: "a list such as A,B", str: "a text"}


@dataclass(frozen=True)
class Subnet:
    """A subnet of which every container gets an address.

    Args:
        network: the subnet.
        gateway: the bridge's address in it; None for the first one.
        first: the lowest address that is given out; None for the first after the gateway's place.
        last: the highest; None for the last that is usable.
    """

    network: Network
    gateway: Address | None = None
    first: Address | None = None
    last: Address | None = None


@dataclass(frozen=True)
class NetworkSpec:
    """A network.

    Args:
        name: its name.
        bridge: its bridge's name.
        subnets: one address of each for every container.
        mtu: in bytes; 0 for the kernel's.
        is_internal: whether nothing leads out of it, not even to the host.
        is_masqueraded: whether the host's address stands for the containers' outside.
        isolated: whether it and other isolated networks do not reach each other; STRICT if it and no other
            network do.
        options: further keys of the bridge plugin.
    """

    name: str
    bridge: str
    subnets: tuple[Subnet, ...]
    mtu: int = 0
    is_internal: bool = False
    is_masqueraded: bool = True
    isolated: bool | str = False
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Leave out an option that says what is so anyway, or equal networks would differ."""
        if self.is_hairpin and self.options.get("hairpinMode") is True:
            others = {key: value for key, value in self.options.items() if key != "hairpinMode"}
            object.__setattr__(self, "options", others)

    @property
    def is_hairpin(self) -> bool:
        """Whether containers reach their own published ports, unless an option says otherwise."""
        return not self.is_internal and self.options.get("promiscMode") is not True


def calc_bridge_name(network: str) -> str:
    """Return the default name of a network's bridge: `br-` and the network's name, or a digest of it."""
    name = f"br-{network}"
    return name if len(name) <= 15 else f"br-{calc_digest(network, size=6)}"


def require_network_name(name: str) -> None:
    """Refuse what cannot be a network's name.

    Raises:
        UsageError: why.
    """
    if not is_valid_identifier(name):
        raise UsageError(
            f'"{name}" is not a valid name for a network',
            "use letters, digits and any of _ . - and begin with a letter or digit",
        )
    if len(name) > _MAX_NAME:
        raise UsageError(
            f"a network's name may have at most {_MAX_NAME} characters, but this one has {len(name)}",
            "choose a shorter one",
        )
    if name in (HOST_NETWORK, NO_NETWORK):
        raise UsageError(
            f'no network can be named "{name}": `shibafu run --network {name}` means something else',
            "choose another name",
        )


def parse_option(key: str, value: object) -> object:
    """Return the value of a driver option, in its type.

    Args:
        key: its name.
        value: the value, in its type or as a text.

    Raises:
        ValueError: there is no such option, or the value is of another type.
    """
    wanted = DRIVER_OPTIONS.get(key)
    if wanted is None:
        raise ValueError(f"unknown driver option {key}; known options: {', '.join(sorted(DRIVER_OPTIONS))}")
    if key == "ipMasqBackend" and value not in (IPTABLES, NFTABLES):
        raise ValueError(f"driver option {key} must be {IPTABLES} or {NFTABLES}, not {value}")
    if type(value) is wanted:
        return value
    if wanted is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if wanted is int and isinstance(value, str) and value.isdecimal():
        return int(value)
    if wanted is list and isinstance(value, str):
        return value.split(",")
    raise ValueError(f"driver option {key} must be {_TYPE_NAMES[wanted]}, not {value}")


def parse_isolated(value: object) -> bool | str:
    """Return how far a network is isolated: false, true or strict.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, bool) or value == STRICT:
        return value
    raise ValueError(f'"isolate" must be true, false or {STRICT}, not {value}')


def calc_conflist(spec: NetworkSpec) -> dict[str, Any]:
    """Return the network's configuration file."""
    plugin: dict[str, Any] = {"type": BRIDGE_TYPE, "bridge": spec.bridge}
    if spec.is_internal:
        plugin["internal"] = True
    else:
        plugin["isDefaultGateway"] = True
        plugin["ipMasq"] = spec.is_masqueraded
    if spec.is_hairpin:
        plugin["hairpinMode"] = True
    if spec.isolated:
        plugin["isolate"] = spec.isolated
    if spec.mtu:
        plugin["mtu"] = spec.mtu
    plugin |= spec.options
    plugin["capabilities"] = _CAPABILITIES
    plugin["ipam"] = {"type": IPAM_TYPE, "ranges": [[_calc_range(subnet)] for subnet in spec.subnets]}
    versions = {"cniVersion": _VERSIONS[0], "cniVersions": _VERSIONS}
    return versions | {"name": spec.name, "plugins": [plugin]}


def _calc_range(subnet: Subnet) -> dict[str, str]:
    stated = {
        "subnet": subnet.network,
        "rangeStart": subnet.first,
        "rangeEnd": subnet.last,
        "gateway": subnet.gateway,
    }
    return {key: str(value) for key, value in stated.items() if value is not None}


def parse_spec(name: str, plugins: list[dict[str, Any]]) -> NetworkSpec | None:
    """Return what a conflist states; None for one that says more than `calc_conflist` ever does."""
    if len(plugins) != 1 or plugins[0].get("type") != BRIDGE_TYPE:
        return None
    plugin = plugins[0]
    try:
        spec = NetworkSpec(
            name,
            plugin["bridge"],
            tuple(_parse_range(*range_set) for range_set in plugin["ipam"]["ranges"]),
            plugin.get("mtu", 0),
            is_internal="isDefaultGateway" not in plugin,
            is_masqueraded=plugin.get("ipMasq", True),
            isolated=parse_isolated(plugin.get("isolate", False)),
            options={key: parse_option(key, plugin[key]) for key in plugin if key in DRIVER_OPTIONS},
        )
    except (KeyError, TypeError, ValueError):
        return None
    # What earlier versions did not write.
    known = {"internal": True} | plugin if spec.is_internal else plugin
    known = {"hairpinMode": True} | known if spec.is_hairpin else known
    return spec if calc_conflist(spec)["plugins"] == [known] else None


def _parse_range(stated: dict[str, str]) -> Subnet:
    first, last, gateway = (
        ip_address(stated[key]) if key in stated else None for key in ("rangeStart", "rangeEnd", "gateway")
    )
    return Subnet(ip_network(stated["subnet"]), gateway, first, last)


def make_request(name: str, plugin: dict[str, Any], version: str, command: str = "ADD") -> Request:
    """Return a call of a network's plugin as the plugin itself sees it, for its own reading of its keys."""
    document = plugin | {"name": name, "cniVersion": version}
    return Request(command, {}, dumps(document).encode(), Section(document, "NetConf"), version)


def check_spec(spec: NetworkSpec) -> None:
    """Refuse what the plugins would refuse, or what would not work.

    Raises:
        CommandError: IPv6 takes a larger MTU.
        CniError: in the plugins' words.
    """
    ipv6 = next((subnet.network for subnet in spec.subnets if subnet.network.version == 6), None)
    if ipv6 is not None and 0 < spec.mtu < _MIN_IPV6_MTU:
        raise CommandError(
            f"subnet {ipv6} needs an MTU of at least {_MIN_IPV6_MTU}, but {spec.mtu} is specified",
            f"use {_MIN_IPV6_MTU} or more, or omit IPv6",
        )
    conflist = calc_conflist(spec)
    request = make_request(spec.name, conflist["plugins"][0], _VERSIONS[-1])
    BridgeConfig(request)
    IpamConfig(request)
