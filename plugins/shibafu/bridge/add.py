"""ADD: attach a container to the bridge, wholly or not at all."""

from shibafu.bridge.addressing import complete_result
from shibafu.bridge.answer import render_answer, require_answerable
from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.plan import plan_addresses, plan_links, plan_network, plan_port_rules, plan_rules
from shibafu.bridge.resources.pair import refuse_if_attached
from shibafu.cni.delegate import Installation
from shibafu.cni.request import Request
from shibafu.cni.result import Result
from shibafu.resource.claim import Claim
from shibafu.resource.netns import open_container_netns
from shibafu.resource.record import ADDRESSED, COMPLETE
from shibafu.resource.records import NetworkState
from shibafu.resource.transaction import Transaction
from shibafu.resource.view import open_view


def add(request: Request, installation: Installation) -> dict[str, object]:
    """Attach the container and return the result in the configuration's version.

    Raises:
        CniError: why it could not be done; nothing is left of the attempt.
    """
    attachment = Attachment(request, BridgeConfig(request))
    require_answerable(attachment)
    with open_container_netns(request) as netns, open_view(netns) as view:
        state, link, result = NetworkState(request.network, sock=view.sock), attachment.host_link, Result()
        request.netns_number = (identity := netns.identify()).number
        claim = Claim(state, link, attachment.calc_record(identity))
        with netns.lock(), claim.lock(), Transaction(view) as transaction:
            refuse_if_attached(attachment, view, state)
            for resource in [*plan_network(attachment, state), claim]:
                transaction.ensure(resource)
            for lease in plan_addresses(attachment, installation):
                transaction.ensure(lease)
                result = lease.result or result
            complete_result(attachment.config, result)
            if result.ips:
                claim.update(ADDRESSED, ips=[str(ip.address) for ip in result.ips])
            has_policies = state.has_policies()
            # They take longest: links are made while iptables runs.
            for rules in plan_rules(attachment, state, result, has_policies) if not claim.is_paused else []:
                transaction.ensure(rules)
            limits = plan_port_rules(attachment, state, result, has_policies)
            for resource in plan_links(attachment, result, link, limits, claim):
                transaction.ensure(resource)
            claim.update(COMPLETE, result=(answer := render_answer(attachment, result, view)))
            return answer
