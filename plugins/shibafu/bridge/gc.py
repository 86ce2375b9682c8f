"""GC: free everything of the network that the runtime no longer lists."""

from shibafu.bridge.compat.leftovers import teardown_lost
from shibafu.bridge.compat.takeover_gc import collect_foreign_garbage
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.removal import remove_stale
from shibafu.bridge.resources.network import NetworkRecord
from shibafu.cni.attachments import parse_valid_attachments
from shibafu.cni.delegate import Installation, delegate
from shibafu.cni.names import calc_host_veth
from shibafu.cni.request import Request
from shibafu.resource.records import NetworkState
from shibafu.resource.teardown import Teardown


def collect_garbage(request: Request, installation: Installation) -> None:
    """Remove links, records, rules and, through the IPAM plugin, addresses of unlisted attachments.

    Raises:
        CniError: everything that could not be removed.
    """
    config = BridgeConfig(request)
    teardown = Teardown()
    valid = parse_valid_attachments(request.config)
    are_leases_free = True
    if valid is not None:
        keep = {calc_host_veth(config.network, container_id, ifname) for container_id, ifname in valid}
        state = NetworkState(config.network)
        remembered = set(state.attachments())
        are_links_gone = remove_stale(state, remembered - keep, request.env, teardown)
        before = len(teardown.errors)
        teardown.do(collect_foreign_garbage, request, config, valid, keep | remembered)
        are_leases_free = are_links_gone and len(teardown.errors) == before
        # A call that was killed may have left rules and no attachment.
        teardown.do(NetworkRecord(state, config, request.env).remove)
        if not state.attachments():
            teardown.do(teardown_lost, config, state, request.env)
    # An address that is perhaps still in use must not be given to somebody else.
    if config.has_ipam and are_leases_free:
        teardown.do(delegate, request, config.ipam_type, "GC", installation)
    teardown.finish()
