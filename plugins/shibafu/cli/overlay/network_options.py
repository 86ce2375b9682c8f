"""The options of `shibafu overlay init` that describe the network, by which its mistakes are called."""

from argparse import ArgumentParser, Namespace
from ipaddress import IPv4Network, IPv6Network
from typing import TypeVar

from shibafu.cli.subcommand import convert
from shibafu.networks.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.overlay.cluster_network import ClusterNetwork, SubnetRange


_Network = TypeVar("_Network", IPv4Network, IPv6Network)


def add_network_options(parser: ArgumentParser) -> None:
    """Add the options that `calc_network` reads."""
    parser.add_argument(
        "--network",
        dest="subnet",
        metavar="CIDR",
        required=True,
        type=convert(IPv4Network),
        help="addresses of all hosts' containers, such as 10.42.0.0/16",
    )
    parser.add_argument(
        "--network6", metavar="CIDR", type=convert(IPv6Network), help="likewise for IPv6, such as fd42::/48"
    )
    parser.add_argument(
        "--subnet-len",
        metavar="N",
        type=convert(_parse_subnet_length),
        default=0,
        help="length of a host's subnet (24)",
    )
    parser.add_argument(
        "--vni", metavar="N", type=convert(_parse_vni), default=1, help="number of the VXLAN (1)"
    )
    parser.add_argument(
        "--backend-port", metavar="P", type=convert(_parse_port), default=8472, help="UDP port (8472)"
    )
    parser.add_argument(
        "--mtu", metavar="N", type=convert(_parse_mtu), default=0, help="of the links between hosts"
    )
    parser.add_argument(
        "--direct-routing", action="store_true", help="no VXLAN between hosts on the same link"
    )


def calc_network(arguments: Namespace) -> "ClusterNetwork":
    """Return the network that the options describe.

    Raises:
        UsageError: there cannot be such a network.
    """
    from shibafu.overlay.cluster_network import (
        ClusterNetwork,
        format_cluster_network,
        parse_cluster_network,
    )
    from shibafu.overlay.errors import OverlayError
    from shibafu.overlay.vxlan_device import calc_device_name

    network = ClusterNetwork(
        _calc_subnets("--network", arguments.subnet, arguments.subnet_len),
        _calc_subnets("--network6", arguments.network6) if arguments.network6 else None,
        arguments.vni,
        arguments.backend_port,
        arguments.mtu,
        arguments.direct_routing,
    )
    for subnets in network.ranges:
        try:
            calc_device_name(network.vni, subnets.network.version)
        except OverlayError as error:
            raise UsageError(f"argument --vni: {error.message}", error.hint) from None
    # As all hosts will read it.
    return parse_cluster_network(format_cluster_network(network))


def _calc_subnets(option: str, network: _Network, length: int = 0) -> "SubnetRange":
    from shibafu.overlay.cluster_network import calc_range
    from shibafu.overlay.errors import OverlayError

    try:
        return calc_range(network, length)
    except OverlayError as error:
        raise UsageError(
            f"argument {'--subnet-len' if length else option}: {error.message}", error.hint
        ) from None


def _parse_subnet_length(text: str) -> int:
    return _parse_number(text, 1, IPv4Network(0).max_prefixlen)


def _parse_vni(text: str) -> int:
    from shibafu.overlay.cluster_network import LARGEST_VNI

    return _parse_number(text, 0, LARGEST_VNI)


def _parse_port(text: str) -> int:
    from shibafu.overlay.cluster_network import LARGEST_PORT

    return _parse_number(text, 1, LARGEST_PORT)


def _parse_mtu(text: str) -> int:
    from shibafu.overlay.cluster_network import LARGEST_MTU, SMALLEST_MTU

    return _parse_number(text, SMALLEST_MTU, LARGEST_MTU)


def _parse_number(text: str, least: int, most: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise ValueError(f'"{text}" is not a whole number from {least} to {most}')
    return number
