"""GC: what the network's containers needed that the runtime no longer lists."""

from shibafu.cni.config import parse_valid_attachments
from shibafu.cni.names import calc_host_veth
from shibafu.firewall.config import ISOLATED_CONTAINERS
from shibafu.firewall.filter_rules import settle_rules
from shibafu.firewall.members import Members
from shibafu.firewall.port_isolation import IsolatedPorts
from shibafu.firewall.reference_filter import find_departed, remove_reference_rules
from shibafu.resource.records import NetworkState
from shibafu.resource.teardown import Teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request


def collect_garbage(request: "Request") -> None:
    """Take away the rules of attachments that the runtime no longer lists.

    Raises:
        CniError: everything that could not be removed.
    """
    valid = parse_valid_attachments(request.config)
    if valid is None:
        return
    members = Members(request.network)
    keep = {calc_host_veth(request.network, *owner) for owner in valid}
    departed = []
    teardown = Teardown()
    stale = set(members.list_keys()) - keep
    for key in stale:
        record = members.find(key)
        if record is not None and not record.bridge:
            departed += record.addresses
        teardown.do(members.remove, key)
    # A call that was killed may have left rules and no container.
    teardown.do(settle_rules, members, request.env, departed)
    needs = members.read_needs()
    if stale and needs is not None and needs.policy == ISOLATED_CONTAINERS:
        teardown.do(IsolatedPorts(members, stale, request.env).remove)
    # Not only of these: a record that was lost may have left elements that no other names.
    if NetworkState(request.network).has_policies():
        from shibafu.policy.membership import release_members

        teardown.do(release_members, request.env)
    with members.lock():
        teardown.do(remove_reference_rules, members, request.env, find_departed)
    teardown.do(members.forget_if_unused)
    teardown.finish()
