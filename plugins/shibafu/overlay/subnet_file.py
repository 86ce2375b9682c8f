"""The subnet file: what a host's agent tells the CNI plugin, and all that this asks it.

It is flannel's `subnet.env` (pkg/subnet/subnet.go, WriteSubnetFile), so that either agent goes with either
plugin. The agent replaces it whole; the plugin reads it for every ADD.
"""

import os

from shibafu.cni.directories import make_directory
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.lean.files import read_file, replace_file
from shibafu.lean.ip import Cidr, parse_cidr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Where flannel has it, whose hosts are in one network.
FLANNEL_SUBNET_FILE = "/run/flannel/subnet.env"
_DIRECTORY = "/run/shibafu/overlay"
_MAX_SIZE = 1 << 16
_NETWORK = {4: "FLANNEL_NETWORK", 6: "FLANNEL_IPV6_NETWORK"}
_SUBNET = {4: "FLANNEL_SUBNET", 6: "FLANNEL_IPV6_SUBNET"}
_MTU = "FLANNEL_MTU"
_IP_MASQ = "FLANNEL_IPMASQ"
# What strconv.ParseUint takes there.
_MAX_MTU = (1 << 32) - 1


class HostSubnet:
    """A host's share of an overlay network.

    Args:
        networks: the address ranges of the whole network, IPv4 before IPv6; flannel may have several.
        subnets: the host's own part, at most one of each family, with the address of its gateway:
            10.42.73.1/24.
        mtu: the largest packet, in bytes, that the way to every other host takes.
        ip_masq: whether the agent masquerades what leaves the network; otherwise that is left to the plugin.
    """

    __slots__ = ("ip_masq", "mtu", "networks", "subnets")

    def __init__(
        self, networks: "Iterable[Cidr]", subnets: "Iterable[Cidr]", mtu: int, ip_masq: bool
    ) -> None:
        self.networks = sorted(networks, key=lambda network: network.version)
        self.subnets = sorted(subnets, key=lambda subnet: subnet.version)
        self.mtu = mtu
        self.ip_masq = ip_masq

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HostSubnet) and render_subnet_file(self) == render_subnet_file(other)

    def __hash__(self) -> int:
        return hash(render_subnet_file(self))

    def __repr__(self) -> str:
        return f"HostSubnet({self.networks}, {self.subnets}, {self.mtu}, {self.ip_masq})"


def calc_subnet_file(network: str) -> str:
    """Return where the agent of this suite writes a network's subnet file, unless it is told otherwise."""
    return f"{_DIRECTORY}/{network}.env"


def calc_state_file(network: str) -> str:
    """Return where the agent of this suite writes the state of a network."""
    return f"{_DIRECTORY}/{network}.json"


def read_subnet_file(path: str) -> HostSubnet | None:
    """Return what a subnet file says; None if it does not exist.

    Raises:
        CniError: it does not say all that is needed, or something that cannot be.
        OSError: it cannot be read.
    """
    content = read_file(path, _MAX_SIZE, follow=True)
    if content is None:
        return None
    return parse_subnet_file(content.decode("utf-8", "replace"), path)


def require_host_subnet(path: str, code: int) -> HostSubnet:
    """Return what a subnet file says.

    Args:
        path: the file.
        code: that of the error if the file does not exist.

    Raises:
        CniError: there is none, in the words of flannel's plugin; or see `read_subnet_file`.
        OSError: it cannot be read.
    """
    host = read_subnet_file(path)
    if host is None:
        raise CniError(
            code,
            f"failed to load flannel 'subnet.env' file: open {path}: no such file or directory",
            "the overlay's agent writes it once it has a subnet for this host: start it "
            "(shibafu overlay run, or flanneld), or look at its log",
        )
    return host


def write_subnet_file(path: str, host: HostSubnet) -> None:
    """Write a subnet file, which everybody may read; those who read it find the old or the new content.

    Raises:
        OSError: it cannot be written.
    """
    make_directory(os.path.dirname(path), 0o755)
    replace_file(path, render_subnet_file(host).encode(), mode=0o644)


def parse_subnet_file(text: str, path: str) -> HostSubnet:
    """Return what the text of a subnet file says.

    Lines of other keys, comments and empty values are passed over; of a key that is there twice the last
    line counts.

    Args:
        text: the file's content.
        path: the file, as refusals call it.

    Raises:
        CniError: see `read_subnet_file`.
    """
    values = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        values[key.strip()] = value.strip().strip("'\"")
    networks = [
        cidr.network
        for version, key in _NETWORK.items()
        for part in values.get(key, "").split(",")
        if part.strip()
        for cidr in [_parse_range(path, key, part.strip(), version)]
    ]
    subnets = [
        _parse_range(path, key, values[key], version) for version, key in _SUBNET.items() if values.get(key)
    ]
    missing = [
        *([] if networks else _NETWORK.values()),
        *([] if subnets else _SUBNET.values()),
        *(key for key in (_MTU, _IP_MASQ) if not values.get(key)),
    ]
    if missing:
        raise _refuse(path, f"{path} is missing {', '.join(missing)}")
    mtu = values[_MTU]
    if not (mtu.isascii() and mtu.isdecimal() and len(mtu) <= 10 and int(mtu) <= _MAX_MTU):
        raise _refuse(path, f'{path}: invalid {_MTU} "{mtu}"')
    return HostSubnet(networks, subnets, int(mtu), values[_IP_MASQ] == "true")


def render_subnet_file(host: HostSubnet) -> str:
    """Return the text of a subnet file, as flannel would write it."""
    lines = []
    for version, key in _NETWORK.items():
        networks = [str(network) for network in host.networks if network.version == version]
        subnets = [str(subnet) for subnet in host.subnets if subnet.version == version]
        if networks:
            lines.append(f"{key}={','.join(networks)}")
        lines += [f"{_SUBNET[version]}={subnet}" for subnet in subnets]
    lines += [f"{_MTU}={host.mtu}", f"{_IP_MASQ}={'true' if host.ip_masq else 'false'}"]
    return "\n".join(lines) + "\n"


def _parse_range(path: str, key: str, text: str, version: int) -> Cidr:
    try:
        cidr = parse_cidr(text)
    except ValueError as error:
        raise _refuse(path, f"{path}: {key}: {error}") from None
    if cidr.version != version:
        raise _refuse(path, f"{path}: {key}: {text} is not of IPv{version}")
    return cidr


def _refuse(path: str, message: str) -> CniError:
    return CniError(
        INVALID_CONFIG,
        message,
        f"the overlay's agent (shibafu overlay run, or flanneld) writes {path}: look at its log, restart it",
    )
