"""What a container that the reference's bridge plugin attached is made of, besides links as ours."""

from shibafu.bridge.addressing import select_own_ips
from shibafu.bridge.attachment import Attachment
from shibafu.bridge.compat.reference import has_reference_masquerade
from shibafu.bridge.compat.reference_nft import ReferenceTables
from shibafu.bridge.compat.takeover import find_reference_peer
from shibafu.bridge.plan import plan_rules
from shibafu.bridge.resources.spoofcheck import find_no_guard
from shibafu.cni.result import Result
from shibafu.resource.base import Fault, Resource
from shibafu.resource.records import NetworkState
from shibafu.resource.view import View


def find_port(attachment: Attachment, result: Result, view: View) -> str:
    """Return the name of the container's link on the host, one that the result names; ours without one."""
    link = view.inside.link(attachment.ifname) if view.inside is not None else None
    peer = find_reference_peer(view.sock, link) if link is not None and link.kind == "veth" else None
    on_host = [interface.name for interface in result.interfaces if not interface.sandbox]
    return peer.name if peer is not None and peer.name in on_host else attachment.host_link


class ReferenceSpoofCheck(Resource):
    """The reference's chains that guard a port.

    Args:
        attachment: whose.
        port: the link on the host.
    """

    __slots__ = ("_attachment", "_port")

    def __init__(self, attachment: Attachment, port: str) -> None:
        self._attachment = attachment
        self._port = port

    def faults(self, view: View) -> list[Fault]:
        """See `Resource.faults`."""
        request = self._attachment.request
        tables = ReferenceTables(request.env)
        is_there = tables.is_spoof_checked(request.container_id, request.ifname, self._port)
        return [] if is_there else [find_no_guard(self._port, "chains of nftables were removed")]

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"port": self._port}


def plan_foreign_guards(attachment: Attachment, port: str) -> list[Resource]:
    """Return what limits what the container's port may send."""
    return [ReferenceSpoofCheck(attachment, port)] if attachment.config.mac_spoof_check else []


def plan_foreign_rules(attachment: Attachment, state: NetworkState, result: Result) -> list[Resource]:
    """Return the network's rules, where the container has none of its own that the reference made.

    The network's, which are there as soon as shibafu has attached a container, are as good.
    """
    config = attachment.config
    if config.isolate or (config.ip_masq and not _has_reference_rules(attachment, result)):
        return plan_rules(attachment, state, result)
    return []


def _has_reference_rules(attachment: Attachment, result: Result) -> bool:
    """Tell whether the container's addresses are masqueraded by rules that the reference made."""
    request, network = attachment.request, attachment.config.network
    addresses = [ip.address.address for ip in select_own_ips(request, result)]
    if has_reference_masquerade(network, request.container_id, addresses, request.env):
        return True
    tables = ReferenceTables(request.env)
    return tables.has_masquerade(network, request.container_id, request.ifname, list(map(str, addresses)))
