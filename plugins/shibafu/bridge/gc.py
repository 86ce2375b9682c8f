"""GC: free everything of the network that the runtime no longer lists."""

from shibafu.bridge.compat.orphans import OrphanedRules
from shibafu.bridge.compat.takeover_gc import ReferenceAttachments
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.resources.network import NetworkRecord
from shibafu.bridge.resources.stale import StaleAttachments, StaleLeases
from shibafu.cni.config import parse_valid_attachments
from shibafu.cni.delegate import Installation
from shibafu.cni.names import calc_host_veth
from shibafu.cni.request import Request
from shibafu.resource.base import Resource
from shibafu.resource.records import NetworkState
from shibafu.resource.teardown import Teardown


def collect_garbage(request: Request, installation: Installation) -> None:
    """Remove links, records, rules and, through the IPAM plugin, addresses of unlisted attachments.

    Raises:
        CniError: everything that could not be removed.
    """
    teardown = Teardown()
    teardown.remove(_plan(request, BridgeConfig(request), installation))
    teardown.finish()


def _plan(request: Request, config: BridgeConfig, installation: Installation) -> list[Resource]:
    """Return what is removed, in the order in which ADD makes it."""
    leases: list[Resource] = [StaleLeases(request, config, installation)] if config.has_ipam else []
    valid = parse_valid_attachments(request.config)
    if valid is None:
        return leases
    state = NetworkState(config.network)
    keep = {calc_host_veth(config.network, container_id, ifname) for container_id, ifname in valid}
    known = set(state.attachments())
    return [
        OrphanedRules(config, state, request.env),
        # A call that was killed may have left rules and no attachment.
        NetworkRecord(state, config, request.env),
        *leases,
        ReferenceAttachments(request, config, valid, keep | known),
        StaleAttachments(state, config.bridge, known - keep, request.env),
    ]
