"""DEL: take an attachment away; what is not there is no error, and what fails does not stop the rest."""

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.namespaces import open_container_netns
from shibafu.bridge.state import NetworkState
from shibafu.cni.delegate import Installation, delegate
from shibafu.cni.errors import INVALID_ENVIRONMENT, NETWORK_SETUP, CniError, merge_errors
from shibafu.cni.names import calc_host_veth
from shibafu.cni.request import Request
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.teardown import link_del_announced


def delete(request: Request, installation: Installation) -> None:
    """Detach the container.

    Neither its namespace nor prevResult is needed: the link's name on the host is computed, and the
    other end vanishes with it.

    Raises:
        CniError: everything that could not be removed.
    """
    config = BridgeConfig(request)
    state = NetworkState(config.network)
    host_link = calc_host_veth(config.network, request.container_id, request.ifname)
    errors: list[CniError] = []

    try:
        if not link_del_announced(host_link):
            _delete_foreign(request)
    except CniError as error:
        errors.append(error)
    except NetlinkError as error:
        errors.append(CniError(NETWORK_SETUP, str(error)))

    if config.has_ipam:
        try:
            delegate(request, config.ipam_type, "DEL", installation)
        except CniError as error:
            errors.append(error)

    try:
        release(state, host_link, request)
    except CniError as error:
        errors.append(error)
    if errors:
        raise merge_errors(errors)


def release(state: NetworkState, host_link: str, request: Request) -> None:
    """Forget an attachment whose link is gone, and remove what only it still needed.

    Raises:
        CniError: the firewall's rules could not be removed.
    """
    state.remove_attachment(host_link)
    if state.read_rules():
        from shibafu.bridge.masquerade import teardown_if_unused

        teardown_if_unused(state, request.env)
    state.remove_if_unused()


def _delete_foreign(request: Request) -> None:
    """Delete the container's interface if another program made it, whose host link has another name.

    That is so for containers that were started before shibafu took the reference plugins' place.
    """
    if not request.netns:
        return
    import os

    from shibafu.netlink.link import link_by_name
    from shibafu.netlink.namespace import entered
    from shibafu.netlink.socket import NetlinkSocket

    try:
        descriptor = open_container_netns(request)
    except CniError as error:
        if error.code == INVALID_ENVIRONMENT:
            return  # the namespace is gone, and its links with it
        raise
    try:
        with entered(descriptor), NetlinkSocket() as sock:
            link = link_by_name(sock, request.ifname)
            if link is not None and link.kind == "veth":
                link_del_announced(request.ifname)
    finally:
        os.close(descriptor)
