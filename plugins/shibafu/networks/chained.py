"""What the other plugins of a chain make, in addition to its bridge plugin."""

from collections.abc import Callable

from shibafu.bandwidth.plan import plan_bandwidth
from shibafu.cni.errors import CniError
from shibafu.cni.request import Request
from shibafu.cni.result import Result
from shibafu.firewall.plan import plan_firewall
from shibafu.loopback.plan import plan_loopback
from shibafu.portmap.published_ports import plan_portmap
from shibafu.resource.base import Fault, Resource
from shibafu.resource.registry import Registry
from shibafu.resource.view import View
from shibafu.tuning.config import TuningConfig
from shibafu.tuning.plan import amend_result, plan_tuning

PLANS = Registry(
    {
        # Some releases of the reference's limit by other means, which its own CHECK knows.
        ("shibafu-bandwidth",): plan_bandwidth,
        ("shibafu-firewall", "firewall"): plan_firewall,
        ("shibafu-loopback", "loopback"): plan_loopback,
        # The reference's own CHECK knows the rules that it makes.
        ("shibafu-portmap",): plan_portmap,
        ("shibafu-tuning", "tuning"): plan_tuning,
    }
)
# What these change of a result, by their first names.
AMENDMENTS: dict[str, Callable[[Request, Result], None]] = {
    "shibafu-tuning": lambda request, result: amend_result(request, TuningConfig(request), result)
}


class RefusedPlugin(Resource):
    """A plugin whose configuration is refused, so that its resources are unknown.

    Args:
        plugin_type: the plugin.
        error: why.
    """

    def __init__(self, plugin_type: str, error: CniError) -> None:
        self._plugin_type = plugin_type
        self._error = error

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"type": self._plugin_type}

    def faults(self, view: View) -> list[Fault]:
        """See `Resource.faults`."""
        what = f"the configuration of plugin {self._plugin_type} is invalid: {self._error.msg}"
        return [Fault(what, self._error.details, is_mendable=False)]


def choose_view(resource: Resource, view: View) -> View:
    """Return the view that a resource needs.

    Args:
        resource: the resource.
        view: the host's, which includes the container's.
    """
    return view.inside if resource.is_inside and view.inside is not None else view
