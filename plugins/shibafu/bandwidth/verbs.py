"""ADD, CHECK, DEL and STATUS: what is limited is the container's link on the host."""

from shibafu.bandwidth.config import BandwidthConfig
from shibafu.bandwidth.plan import (
    choose_delay_link,
    find_host_link,
    plan_limits,
    plan_remains,
    plan_unlimited,
)
from shibafu.bandwidth.shaping import expect_link
from shibafu.cni.result import Interface, Result, find_prev_result, require_prev_result
from shibafu.resource.base import check_resources
from shibafu.resource.netns import open_container_netns
from shibafu.resource.teardown import Teardown
from shibafu.resource.transaction import Transaction
from shibafu.resource.view import View, open_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request
    from shibafu.resource.base import Resource


def add(request: "Request") -> dict[str, object]:
    """Limit the container's traffic, and return the result; another ADD changes the limits.

    Raises:
        CniError: why it could not be done; nothing is left of the attempt.
    """
    config = BandwidthConfig(request.config)
    result = require_prev_result(request.config, request.cni_version, "must be called as chained plugin")
    if config.is_empty:
        return result.to_json(request.cni_version)
    with open_container_netns(request) as netns, open_view() as view:
        port = find_host_link(view, netns, request, result)
        delay_link = choose_delay_link(request, result)
        with netns.lock(), Transaction(view) as transaction:
            _lift(plan_unlimited(request, port, delay_link, config))
            for resource in plan_limits(request, port, delay_link, config):
                transaction.ensure(resource)
            # A DEL at the same moment may have come to its end before.
            view.look_again(port)
            expect_link(view, port)
        if config.egress is not None:
            _state_delay_link(view, result, delay_link)
        return result.to_json(request.cni_version)


def check(request: "Request") -> None:
    """Look whether the container's traffic is limited as the configuration says.

    Raises:
        CniError: CHECK_FAILED and the first difference.
    """
    config = BandwidthConfig(request.config)
    result = require_prev_result(request.config, request.cni_version, "must be called as a chained plugin")
    if config.is_empty:
        return
    with open_container_netns(request) as netns, open_view() as view:
        port = find_host_link(view, netns, request, result)
        plan = plan_limits(request, port, choose_delay_link(request, result), config)
        check_resources(plan, view)


def delete(request: "Request") -> None:
    """Lift the limits; neither the namespace nor prevResult is needed.

    Raises:
        CniError: everything that could not be removed.
    """
    result = find_prev_result(request.config, request.cni_version)
    teardown = Teardown()
    with open_view() as view:
        teardown.remove(plan_remains(view, request, result))
    teardown.finish()


def status(request: "Request") -> None:
    """Answer nothing when ADD would work.

    Raises:
        CniError: a limit that cannot be.
    """
    BandwidthConfig(request.config)


def _lift(unwanted: "list[Resource]") -> None:
    """Remove limits of a former ADD that are not asked for any more."""
    teardown = Teardown()
    teardown.remove(unwanted)
    teardown.finish()


def _state_delay_link(view: View, result: Result, name: str) -> None:
    if not any(i.name == name for i in result.interfaces):
        result.interfaces.append(Interface(name, expect_link(view, name).mac.hex(":")))
