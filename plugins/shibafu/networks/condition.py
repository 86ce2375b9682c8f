"""The condition of a network's resources, as CHECK and `repair` see it, for `inspect`.

Leases are left to them: asking IPAM plugins takes a process for each container.
"""

from dataclasses import replace
from typing import Any

from shibafu.cni.errors import CniError
from shibafu.networks.desired import PASSED_OVER, Recall, Recalled, open_beside
from shibafu.networks.inspect import Condition, Endpoint, NetworkView, ResourceFault
from shibafu.resource.base import ATTACHMENT, NOT_CHECKED, Resource
from shibafu.resource.view import View, open_view


def add_conditions(seen: NetworkView, recall: Recall) -> NetworkView:
    """Return a network with the condition of its resources, and of those of each container.

    A container that cannot be recalled has none, and why is said among what is broken.
    """
    shared: dict[str, Condition] = {}
    endpoints: list[Endpoint] = []
    everything: list[Recalled] = []
    broken = list(seen.broken)
    with open_view() as view:
        for endpoint in seen.endpoints:
            own: list[Condition] = []
            if endpoint.state not in PASSED_OVER:
                try:
                    everything.append(recall.recall(endpoint))
                    own = _look_at_container(everything[-1], recall, view, shared)
                except CniError as error:
                    broken.append(f"{endpoint.container_id}, {endpoint.ifname}: {error.msg}")
            endpoints.append(replace(endpoint, resources=own))
        for resource in recall.plan_shared(everything):
            _merge(shared, _look(resource, view))
    return replace(seen, endpoints=endpoints, resources=list(shared.values()), broken=broken)


def _look_at_container(
    recalled: Recalled, recall: Recall, view: View, shared: dict[str, Condition]
) -> list[Condition]:
    """Return the condition of what is a container's own; what others may share goes into `shared`."""
    own = []
    with open_beside(view, recalled.endpoint.netns) as beside:
        for resource in recall.plan(recalled):
            condition = _look(resource, beside)
            if resource.scope == ATTACHMENT:
                own.append(condition)
            else:
                _merge(shared, condition)
    return own


def _look(resource: Resource, view: View) -> Condition:
    name = type(resource).__name__
    try:
        found = [(fault.what, "" if fault.is_mendable else fault.advice) for fault in resource.faults(view)]
    except CniError as error:
        found = [(error.msg, error.details)]
    except OSError as error:
        found = [(str(error), NOT_CHECKED)]
    faults = [ResourceFault(what, advice) for what, advice in found]
    return Condition(name[0].lower() + name[1:], resource.describe(), faults)


def _merge(shared: dict[str, Condition], condition: Condition) -> None:
    """Add what one container needs of something to what others need of it."""
    former = shared.get(condition.resource)
    if former is None:
        shared[condition.resource] = condition
        return
    attributes = dict(former.attributes)
    for key, value in condition.attributes.items():
        attributes[key] = _join(attributes[key], value) if key in attributes else value
    faults = [*former.faults, *(fault for fault in condition.faults if fault not in former.faults)]
    shared[condition.resource] = Condition(condition.resource, attributes, faults)


def _join(former: Any, value: Any) -> Any:
    """Return a list with the items of both, or else the value that was there before."""
    if not (isinstance(former, list) and isinstance(value, list)):
        return former
    return [*former, *(item for item in value if item not in former)]
