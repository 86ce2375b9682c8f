"""CHECK of a container that the reference's bridge plugin attached, before shibafu took its place."""

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.compat.reference import has_reference_masquerade
from shibafu.bridge.compat.reference_nft import ReferenceTables
from shibafu.bridge.compat.takeover import find_reference_peer
from shibafu.bridge.namespaces import Namespaces
from shibafu.cni.result import IPConfig, Result
from shibafu.netlink.link import link_by_name


def find_reference_port(namespaces: Namespaces, attachment: Attachment, result: Result) -> str | None:
    """Return the name of the container's link on the host, one that prevResult names; None without."""
    link = link_by_name(namespaces.container, attachment.ifname)
    if link is None or link.kind != "veth":
        return None
    peer = find_reference_peer(namespaces.host, link)
    if peer is None:
        return None
    on_host = [interface.name for interface in result.interfaces if not interface.sandbox]
    return peer.name if peer.name in on_host else None


def has_reference_rules(attachment: Attachment, ips: list[IPConfig]) -> bool:
    """Tell whether the container's addresses are masqueraded by rules that the reference made."""
    request, network = attachment.request, attachment.config.network
    addresses = [ip.address.address for ip in ips]
    if has_reference_masquerade(network, request.container_id, addresses, request.env):
        return True
    tables = ReferenceTables(request.env)
    return tables.has_masquerade(network, request.container_id, request.ifname, list(map(str, addresses)))


def has_reference_guard(attachment: Attachment, port: str) -> bool:
    """Tell whether the container's port is guarded by the chains that the reference made."""
    request = attachment.request
    return ReferenceTables(request.env).is_spoof_checked(request.container_id, request.ifname, port)
