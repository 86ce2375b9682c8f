"""What a configuration asks of shibafu-ipam: the `ipam` section and the addresses that callers request."""

import os

from shibafu.cni.args import parse_args
from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from shibafu.cni.request import Request
from shibafu.lean.ip import Address, parse_address, parse_cidr

DEFAULT_DATA_DIR = "/var/lib/cni/networks"


class IpamConfig:
    """The configuration of ADD, CHECK and STATUS, validated whole.

    Args:
        request: the call.

    Raises:
        CniError: INVALID_CONFIG or INVALID_ENVIRONMENT, with the reference's text.
    """

    __slots__ = ("data_dir", "range_sets", "requested", "resolv_conf", "section")

    def __init__(self, request: Request) -> None:
        from shibafu_ipam.ranges import parse_ranges, resolve_range_sets

        # The reference's order: decode everything, then the requested addresses, then judge the ranges.
        self.section = parse_ipam_section(request)
        self.data_dir = parse_data_dir(self.section)
        self.resolv_conf = _parse_path("resolvConf", self.section.text("resolvConf"))
        runtime_config = request.config.section("runtimeConfig")
        texts = parse_ranges(self.section, runtime_config)
        self.requested = _parse_requested(request, runtime_config)
        self.range_sets = resolve_range_sets(texts)

        versions = [range_set.version for range_set in self.range_sets]
        if request.cni_version in ("0.1.0", "0.2.0") and len(versions) > len(set(versions)):
            raise CniError(
                INVALID_CONFIG,
                f"CNI version {request.cni_version} does not support more than 1 address per family",
                'configure one range set per family, or set "cniVersion" to 0.3.0 or later',
            )


def parse_ipam_section(request: Request) -> Section:
    """Return the `ipam` section.

    Raises:
        CniError: INVALID_CONFIG when there is none.
    """
    if "ipam" not in request.config:
        raise CniError(
            INVALID_CONFIG, "IPAM config missing 'ipam' key", 'add "ipam" to the network configuration'
        )
    return request.config.section("ipam")


def parse_data_dir(ipam: Section) -> str:
    """Return the directory that holds the stores of all networks.

    Raises:
        CniError: INVALID_CONFIG when it is not an absolute path.
    """
    data_dir = _parse_path("dataDir", ipam.text("dataDir")) or DEFAULT_DATA_DIR
    if not data_dir.startswith("/"):
        raise CniError(
            INVALID_CONFIG,
            f'invalid dataDir "{data_dir}"',
            f'"dataDir" must be an absolute path, because a relative one depends on the caller; '
            f"the default is {DEFAULT_DATA_DIR}",
        )
    return data_dir


def _parse_path(key: str, path: str) -> str:
    """Return the path that a key states, unless it can be none."""
    try:
        is_possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        is_possible = False  # half of a pair of surrogates
    if not is_possible:
        raise CniError(
            INVALID_CONFIG,
            f"open {path}: invalid argument",
            f'"{key}" contains a character that no path can have: NUL, or an unpaired surrogate',
        )
    return path


def _parse_requested(request: Request, runtime_config: Section) -> list[Address]:
    """Return the requested addresses, each once: CNI_ARGS' IP, `args.cni.ips` and `runtimeConfig.ips`."""
    requested: list[Address] = []
    argument = parse_args(request.args, ("IP",)).get("IP", "")
    if argument:
        try:
            requested.append(_parse_requested_address(argument))
        except ValueError as error:
            raise CniError(
                INVALID_ENVIRONMENT,
                f'ARGS: error parsing value of pair "IP={argument}": {error}',
                "IP in CNI_ARGS must be one address such as 10.1.0.7, with or without a prefix",
            ) from None
    for text in request.config.section("args").section("cni").texts("ips") + runtime_config.texts("ips"):
        try:
            requested.append(_parse_requested_address(text))
        except ValueError as error:
            raise CniError(
                INVALID_CONFIG, str(error), '"ips" must be addresses such as 10.1.0.7 or 10.1.0.7/24'
            ) from None
    return list(dict.fromkeys(requested))


def _parse_requested_address(text: str) -> Address:
    """Parse an address; a prefix is allowed and says nothing."""
    try:
        return parse_cidr(text).address if "/" in text else parse_address(text)
    except ValueError:
        raise ValueError(f"invalid IP address {text}") from None
