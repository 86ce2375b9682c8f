"""What an attachment is made of, for others than the plugin."""

from shibafu.loopback.lo import LoopbackInterface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request
    from shibafu.cni.result import Result
    from shibafu.resource.base import Resource
    from shibafu.resource.view import View


def plan_loopback(request: "Request", result: "Result", view: "View") -> "list[Resource]":
    """Return the container's interface `lo`; see `resource.registry`."""
    return [LoopbackInterface(view.inside.sock)] if view.inside is not None else []
