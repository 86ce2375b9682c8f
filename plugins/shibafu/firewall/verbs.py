"""ADD, CHECK, DEL and STATUS."""

from shibafu.cni.result import find_prev_result, require_prev_result
from shibafu.firewall.config import ISOLATED_CONTAINERS, FirewallConfig
from shibafu.firewall.filter_rules import FilterRules
from shibafu.firewall.members import Members, calc_key
from shibafu.firewall.plan import find_container_needs, plan_departure, plan_entry, plan_stated
from shibafu.resource.base import check_resources
from shibafu.resource.records import NetworkState
from shibafu.resource.teardown import Teardown
from shibafu.resource.transaction import Transaction
from shibafu.resource.view import open_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request
    from shibafu.resource.base import Resource

# The reference's words for a missing prevResult.
_REFUSAL = "missing prevResult from earlier plugin"


def add(request: "Request") -> dict[str, object]:
    """Let the container's packets through, and return what the plugins before have answered.

    Raises:
        CniError: why it could not be done; nothing is left of the attempt.
    """
    config = FirewallConfig(request.config.values)
    result = require_prev_result(request.config, request.cni_version, _REFUSAL)
    members = Members(request.network)
    with open_view() as view:
        needs = find_container_needs(members, request, config, result, view)
        if needs.versions or needs.zone:
            with Transaction(view) as transaction:
                plan = plan_stated(config) + plan_entry(members, request, needs, result, view)
                transaction.ensure_unless_paused(plan, NetworkState(request.network))
    return result.to_json(request.cni_version)


def check(request: "Request") -> None:
    """Look whether the container's packets are let through, and kept from others, as is configured.

    Raises:
        CniError: CHECK_FAILED and the first difference.
    """
    config = FirewallConfig(request.config.values)
    result = require_prev_result(request.config, request.cni_version, _REFUSAL)
    members = Members(request.network)
    with open_view() as view:
        needs = find_container_needs(members, request, config, result, view)
        if not (needs.versions or needs.zone):
            return
        if members.find(calc_key(request)) is None:
            from shibafu.firewall.reference_filter import has_reference_rules

            if has_reference_rules(result, config, needs, request.env):
                return
        plan = plan_stated(config) + plan_entry(members, request, needs, result, view)
        check_resources(plan, view)


def delete(request: "Request") -> None:
    """Take away what only this container needed; neither the namespace nor prevResult is needed.

    Raises:
        CniError: everything that could not be removed.
    """
    result = find_prev_result(request.config, request.cni_version)
    teardown = Teardown()
    teardown.remove(plan_departure(Members(request.network), request, result))
    teardown.finish()


def status(request: "Request") -> None:
    """Answer nothing when ADD would work.

    Raises:
        CniError: NOT_AVAILABLE and the reason.
    """
    config = FirewallConfig(request.config.values)
    kinds: list[type[Resource]] = [FilterRules]
    if config.policy == ISOLATED_CONTAINERS:
        from shibafu.firewall.port_isolation import IsolatedPorts

        kinds.append(IsolatedPorts)
    if config.stated_policies or NetworkState(request.network).has_policies():
        from shibafu.policy.membership import PolicyMembership

        kinds.append(PolicyMembership)
    for kind in kinds:
        obstacle = kind.obstacle(request, config)
        if obstacle is not None:
            raise obstacle
