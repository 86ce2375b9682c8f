"""ADD: attach a container to the bridge, wholly or not at all."""

from shibafu.bridge.addressing import calc_gateways
from shibafu.bridge.answer import describe_interfaces
from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.plan import plan_addresses, plan_guards, plan_links, plan_rules
from shibafu.bridge.resources.network import NetworkRecord
from shibafu.bridge.resources.pair import refuse_if_attached
from shibafu.cni.delegate import Installation
from shibafu.cni.request import Request
from shibafu.cni.result import Result
from shibafu.resource.claim import Claim
from shibafu.resource.netns import open_container_netns
from shibafu.resource.record import ADDRESSED, COMPLETE
from shibafu.resource.records import NetworkState
from shibafu.resource.transaction import Transaction
from shibafu.resource.view import View, open_view


def add(request: Request, installation: Installation) -> dict[str, object]:
    """Attach the container and return the result in the configuration's version.

    Raises:
        CniError: why it could not be done; nothing is left of the attempt.
    """
    attachment = Attachment(request, BridgeConfig(request))
    if not attachment.config.has_ipam:
        # The oldest versions have no result without addresses: refused before anything is done.
        Result().to_json(request.cni_version)
    with open_container_netns(request) as netns, open_view(netns) as view:
        state = NetworkState(attachment.config.network)
        claim = Claim(state, attachment.host_link, attachment.calc_record(netns.identify()))
        with netns.lock(), claim.lock():
            refuse_if_attached(attachment, netns)
            return _attach(attachment, view, installation, state, claim)


def _attach(
    attachment: Attachment,
    view: View,
    installation: Installation,
    state: NetworkState,
    claim: Claim,
) -> dict[str, object]:
    request, config, record = attachment.request, attachment.config, claim.record
    result = Result()
    with Transaction(view) as transaction:
        transaction.ensure(NetworkRecord(state, config, request.env))
        transaction.ensure(claim)
        for lease in plan_addresses(attachment, installation):
            transaction.ensure(lease)
            result = lease.result or result
        calc_gateways(config, result)
        # They take longest: links are made while iptables runs.
        for rules in plan_rules(attachment, state, result):
            transaction.ensure(rules)
        if result.ips:
            record.ips = [str(ip.address) for ip in result.ips]
            claim.update(ADDRESSED)
        guards = plan_guards(attachment, state)
        for resource in plan_links(attachment, result, attachment.host_link, guards, claim):
            transaction.ensure(resource)
        result.interfaces = describe_interfaces(attachment, view)
        result.dns = config.dns or result.dns
        answer = record.result = result.to_json(request.cni_version)
        claim.update(COMPLETE)
        return answer
