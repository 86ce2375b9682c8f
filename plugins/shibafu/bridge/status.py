"""STATUS: would ADD work now?"""

import os

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.state import NetworkState
from shibafu.cni.delegate import Installation, delegate
from shibafu.cni.errors import NOT_AVAILABLE, CniError
from shibafu.cni.process import find_program
from shibafu.cni.request import Request
from shibafu.firewall.backend import NFTABLES, choose_backend
from shibafu.netlink.link import link_by_name
from shibafu.netlink.socket import NetlinkSocket


def status(request: Request, installation: Installation) -> None:
    """Answer nothing when ADD would work.

    Raises:
        CniError: NOT_AVAILABLE and the reason; or the IPAM plugin's answer.
    """
    config = BridgeConfig(request)
    if config.ip_masq or config.isolate:
        backend = choose_backend(config.ip_masq_backend, request.env)
        programs = ["nft"] if backend == NFTABLES else ["iptables-restore"]
        # A network of IPv4 alone does not need it, unless it is isolated over both families.
        if backend != NFTABLES and (config.isolate or _mentions_ipv6(request)):
            programs.append("ip6tables-restore")
        switches = " and ".join(
            key for key, value in (('"ipMasq"', config.ip_masq), ('"isolate"', config.isolate)) if value
        )
        for program in programs:
            details = f'install it, or set {switches} to false; "ipMasqBackend" is {backend}'
            _require(request, program, details)
    if config.mac_spoof_check:
        _require(request, "nft", 'install nftables, or set "macspoofchk" to false')
    if config.internal:
        _require(request, "nft", "an internal network needs it: install nftables")
    _require_bridge(config)
    _require_records(NetworkState(config.network))
    if config.has_ipam:
        delegate(request, config.ipam_type, "STATUS", installation)


def _require(request: Request, program: str, details: str) -> None:
    if find_program(program, request.env.get("PATH", "")) is None:
        raise CniError(NOT_AVAILABLE, f"{program} is not installed", details)


def _mentions_ipv6(request: Request) -> bool:
    """Tell whether the network's subnets or addresses, whatever its IPAM plugin calls them, are IPv6's."""
    ranges = request.config.section("runtimeConfig").get("ipRanges")
    return _has_ipv6(request.config.section("ipam").values) or _has_ipv6(ranges)


def _has_ipv6(value: object, key: str = "") -> bool:
    if isinstance(value, dict):
        return any(_has_ipv6(inner, name.lower()) for name, inner in value.items())
    if isinstance(value, list):
        return any(_has_ipv6(inner, key) for inner in value)
    return key in ("subnet", "address") and isinstance(value, str) and ":" in value


def _require_bridge(config: BridgeConfig) -> None:
    with NetlinkSocket() as sock:
        link = link_by_name(sock, config.bridge)
    if link is not None and link.kind != "bridge":
        raise CniError(
            NOT_AVAILABLE,
            f'"{link.name}" already exists but is not a bridge',
            'choose another name for "bridge"',
        )


def _require_records(state: NetworkState) -> None:
    """Refuse a directory of records that cannot be written to."""
    directory = state.directory
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    if not os.path.isdir(directory) or not os.access(directory, os.W_OK | os.X_OK):
        raise CniError(
            NOT_AVAILABLE,
            f"cannot write to {directory}",
            f"attachments are remembered in {state.directory}",
        )
