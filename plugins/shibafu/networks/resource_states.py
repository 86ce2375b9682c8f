"""The state of a network's resources, as CHECK and `repair` see it, for `inspect`.

Leases are left to them: asking IPAM plugins takes a process for each container.
"""

from dataclasses import replace
from typing import Any

from shibafu.cni.errors import CniError
from shibafu.netlink.constants import AF_INET, AF_INET6
from shibafu.netlink.route import route_list
from shibafu.networks.chained import choose_view
from shibafu.networks.desired import PASSED_OVER, DesiredEndpoint, DesiredState, open_beside
from shibafu.networks.inspect import Endpoint, NetworkView, ResourceFault, ResourceState
from shibafu.resource.base import ATTACHMENT, NOT_CHECKED, Resource
from shibafu.resource.view import View, open_view


def add_resource_states(seen: NetworkView, desired_state: DesiredState) -> NetworkView:
    """Return a network with the state of its resources, and of those of each container.

    A container whose desired state cannot be told has none, and why is said among what is broken.
    """
    shared: dict[str, ResourceState] = {}
    endpoints: list[Endpoint] = []
    everything: list[DesiredEndpoint] = []
    broken = list(seen.broken)
    with open_view() as view:
        for endpoint in seen.endpoints:
            looked_at = endpoint
            if endpoint.state not in PASSED_OVER:
                try:
                    everything.append(desired_state.of_endpoint(endpoint))
                    looked_at = _look_at_container(everything[-1], desired_state, view, shared)
                except CniError as error:
                    broken.append(f"{endpoint.container_id}, {endpoint.ifname}: {error.msg}")
            endpoints.append(looked_at)
        for resource in desired_state.plan_shared(everything):
            _merge(shared, _look(resource, view))
    return replace(seen, endpoints=endpoints, resources=list(shared.values()), broken=broken)


def _look_at_container(
    desired: DesiredEndpoint, desired_state: DesiredState, view: View, shared: dict[str, ResourceState]
) -> Endpoint:
    """Return a container with the state of what is its own; what others may share goes into `shared`."""
    own = []
    with open_beside(view, desired.endpoint.netns) as beside:
        for resource in desired_state.plan(desired) + desired_state.plan_chained(desired, beside):
            state = _look(resource, choose_view(resource, beside))
            if resource.scope == ATTACHMENT:
                own.append(state)
            else:
                _merge(shared, state)
        routes = _find_default_routes(beside.inside, desired.endpoint.ifname)
    return replace(desired.endpoint, resources=own, default_routes=routes)


def _find_default_routes(inside: View | None, ifname: str) -> dict[str, bool]:
    """Return the families that an interface has a default route for, and whether that one counts."""
    link = inside.link(ifname) if inside is not None else None
    if inside is None or link is None:
        return {}
    found = {}
    for version, family in ((4, AF_INET), (6, AF_INET6)):
        routes = [route for route in route_list(inside.sock, None, family) if route.dst_prefix == 0]
        if any(route.index == link.index for route in routes):
            best = min(routes, key=lambda route: route.priority)
            found[f"ipv{version}"] = best.index == link.index
    return found


def _look(resource: Resource, view: View) -> ResourceState:
    name = type(resource).__name__
    try:
        found = [(fault.what, "" if fault.is_mendable else fault.advice) for fault in resource.faults(view)]
    except CniError as error:
        found = [(error.msg, error.details)]
    except OSError as error:
        found = [(str(error), NOT_CHECKED)]
    faults = [ResourceFault(what, advice) for what, advice in found]
    return ResourceState(name[0].lower() + name[1:], resource.describe(), faults)


def _merge(shared: dict[str, ResourceState], state: ResourceState) -> None:
    """Add what one container needs of something to what others need of it."""
    former = shared.get(state.resource)
    if former is None:
        shared[state.resource] = state
        return
    attributes = dict(former.attributes)
    for key, value in state.attributes.items():
        attributes[key] = _join(attributes[key], value) if key in attributes else value
    faults = [*former.faults, *(fault for fault in state.faults if fault not in former.faults)]
    shared[state.resource] = ResourceState(state.resource, attributes, faults)


def _join(former: Any, value: Any) -> Any:
    """Return a list with the items of both, or else the value that was there before."""
    if not (isinstance(former, list) and isinstance(value, list)):
        return former
    return [*former, *(item for item in value if item not in former)]
