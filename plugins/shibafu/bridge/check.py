"""CHECK: is the attachment as ADD left it?

What later plugins of the chain may change (the link's hardware address, routes) is compared with the
final result, which is what the runtime hands over as prevResult.
"""

from shibafu.bridge.addressing import select_own_ips
from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.plan import plan_addresses, plan_guards, plan_links, plan_passage, plan_rules
from shibafu.cni.delegate import Installation
from shibafu.cni.errors import CHECK_FAILED, INVALID_CONFIG, CniError
from shibafu.cni.request import Request
from shibafu.cni.result import Result, parse_prev_result
from shibafu.resource.base import find_faults
from shibafu.resource.netns import open_container_netns
from shibafu.resource.records import NetworkState, link_exists
from shibafu.resource.view import View, open_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.resource.base import Resource


def check(request: Request, installation: Installation) -> None:
    """Compare the kernel's state with prevResult and the configuration.

    Raises:
        CniError: CHECK_FAILED and the first difference.
    """
    config = BridgeConfig(request)
    result = parse_prev_result(request.config, request.cni_version)
    if result is None:
        raise CniError(
            INVALID_CONFIG, "Required prevResult missing", "CHECK needs the result of ADD as prevResult"
        )
    attachment = Attachment(request, config)
    state = NetworkState(config.network)
    is_own = link_exists(attachment.host_link) or state.remembers(attachment.host_link)
    rules = plan_rules(attachment, state, result) if is_own else []
    for resource in rules:
        resource.prepare()
    _require_attachment(attachment, result)
    with open_container_netns(request) as netns, open_view(netns) as view:
        if is_own:
            made = plan_links(attachment, result, attachment.host_link, plan_guards(attachment, state))
        else:
            made, rules = _plan_foreign(attachment, state, result, view)
        passage = plan_passage(attachment, result)
        plan = [*plan_addresses(attachment, installation), *made, *rules, *passage]
        for fault in find_faults(plan, view):
            raise CniError(CHECK_FAILED, fault.what, fault.advice)


def _plan_foreign(
    attachment: Attachment, state: NetworkState, result: Result, view: View
) -> "tuple[list[Resource], list[Resource]]":
    """Return links and rules of a container that shibafu did not attach: the reference may have."""
    from shibafu.bridge.compat.plan import find_port, plan_foreign_guards, plan_foreign_rules

    port = find_port(attachment, result, view)
    links = plan_links(attachment, result, port, plan_foreign_guards(attachment, port))
    return links, plan_foreign_rules(attachment, state, result)


def _require_attachment(attachment: Attachment, result: Result) -> None:
    """Refuse a result that says nothing of the attachment: there would be nothing to compare."""
    ifname = attachment.ifname
    if not any(interface.name == ifname and interface.sandbox for interface in result.interfaces):
        missing = f"interface {ifname} of the container"
    elif attachment.config.has_ipam and not select_own_ips(attachment.request, result):
        missing = f"an address of interface {ifname}"
    else:
        return
    raise CniError(
        INVALID_CONFIG, f"prevResult lacks {missing}", "CHECK needs the result of ADD as prevResult"
    )
