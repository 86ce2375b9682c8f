"""STATUS: would ADD work now?"""

import os

from shibafu.bridge.config import BridgeConfig
from shibafu.cni.delegate import Installation, delegate
from shibafu.cni.errors import LIMITED_CONNECTIVITY, NOT_AVAILABLE, CniError
from shibafu.cni.names import NFTABLES
from shibafu.cni.process import find_program
from shibafu.cni.request import Request
from shibafu.netfilter.backend import choose_backend
from shibafu.netlink.link import link_by_name
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.records import NetworkState


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
    _require_passage(request, config)
    if config.has_ipam:
        delegate(request, config.ipam_type, "STATUS", installation)


def _require(request: Request, program: str, details: str) -> None:
    if find_program(program, request.env.get("PATH", "")) is None:
        raise CniError(NOT_AVAILABLE, f"{program} is not installed", details)


def _mentions_ipv6(request: Request) -> bool:
    """Tell whether any of the network's subnets or addresses is IPv6's."""
    return any(":" in text for text in _find_subnets(request))


def _find_subnets(request: Request) -> list[str]:
    """Return the network's subnets and addresses, whatever its IPAM plugin calls them."""
    ranges = request.config.section("runtimeConfig").get("ipRanges")
    return _collect_subnets([request.config.section("ipam").values, ranges])


def _collect_subnets(value: object, key: str = "") -> list[str]:
    if isinstance(value, dict):
        return [text for name, inner in value.items() for text in _collect_subnets(inner, name.lower())]
    if isinstance(value, list):
        return [text for inner in value for text in _collect_subnets(inner, key)]
    return [value] if key in ("subnet", "address") and isinstance(value, str) else []


def _require_passage(request: Request, config: BridgeConfig) -> None:
    """Refuse a firewall that drops all that containers would send."""
    from shibafu.bridge.resources.passage import find_overruling_drop
    from shibafu.cni.ip import parse_cidr

    try:
        subnets = [parse_cidr(text).network for text in _find_subnets(request)]
    except ValueError:
        return  # that is for the IPAM plugin to say
    drop = find_overruling_drop(config, subnets, request.env)
    if drop is not None:
        raise CniError(LIMITED_CONNECTIVITY, drop.describe(config.network), drop.advice)


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
