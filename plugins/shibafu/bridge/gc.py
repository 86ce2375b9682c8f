"""GC: free everything of the network that the runtime no longer lists."""

from errno import ENODEV

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.delete import release
from shibafu.bridge.state import NetworkState
from shibafu.cni.attachments import parse_valid_attachments
from shibafu.cni.delegate import Installation, delegate
from shibafu.cni.errors import NETWORK_SETUP, CniError, merge_errors
from shibafu.cni.names import calc_host_veth
from shibafu.cni.request import Request
from shibafu.netlink.link import link_del
from shibafu.netlink.socket import NetlinkSocket


def collect_garbage(request: Request, installation: Installation) -> None:
    """Remove links, records, rules and, through the IPAM plugin, addresses of unlisted attachments.

    Raises:
        CniError: everything that could not be removed.
    """
    config = BridgeConfig(request)
    errors: list[CniError] = []
    valid = parse_valid_attachments(request.config)
    if valid is not None:
        keep = {calc_host_veth(config.network, container_id, ifname) for container_id, ifname in valid}
        errors += _remove_unlisted(NetworkState(config.network), keep, request)
    if config.has_ipam:
        try:
            delegate(request, config.ipam_type, "GC", installation)
        except CniError as error:
            errors.append(error)
    if errors:
        raise merge_errors(errors)


def _remove_unlisted(state: NetworkState, keep: set[str], request: Request) -> list[CniError]:
    errors: list[CniError] = []
    with NetlinkSocket() as sock:
        for host_link in state.attachments():
            if host_link in keep:
                continue
            try:
                sock.request(link_del(host_link).ignoring(ENODEV))
                release(state, host_link, request)
            except CniError as error:
                errors.append(error)
            except OSError as error:
                errors.append(CniError(NETWORK_SETUP, str(error)))
    return errors
