"""What an attachment is made of."""

from shibafu.tuning.backup import Backup
from shibafu.tuning.config import TuningConfig
from shibafu.tuning.sysctls import Sysctls
from shibafu.tuning.tuned_interface import TunedInterface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request
    from shibafu.cni.result import Result
    from shibafu.resource.base import Resource
    from shibafu.resource.netns import Netns
    from shibafu.resource.view import View


def plan_changes(request: "Request", config: TuningConfig, netns: "Netns | None") -> "list[Resource]":
    """Return the resources of an attachment, in the order in which they are made.

    Args:
        request: the call.
        config: its configuration.
        netns: the container's namespace; None when it is gone.
    """
    backup = plan_backup(request, config, netns)
    interface = TunedInterface(request.ifname, config.attributes, backup, netns)
    return [Sysctls(config.sysctls), backup, interface]


def plan_tuning(request: "Request", result: "Result", view: "View") -> "list[Resource]":
    """Return what can be inspected and repaired: not the file, which only ADD can write.

    See `resource.registry`.

    Raises:
        CniError: the configuration is refused.
    """
    config = TuningConfig(request)
    return [resource for resource in plan_changes(request, config, None) if not isinstance(resource, Backup)]


def plan_restoration(request: "Request", config: TuningConfig, netns: "Netns | None") -> "list[Resource]":
    """Return what DEL removes: what the interface was like before is known by its file alone."""
    backup = plan_backup(request, config, netns)
    backup.load()
    return [backup, TunedInterface(request.ifname, config.attributes, backup, netns)]


def plan_backup(request: "Request", config: TuningConfig, netns: "Netns | None") -> Backup:
    """Return the file of an attachment."""
    return Backup(
        config.data_dir, request.container_id, request.ifname, request.network, netns, config.attributes
    )


def amend_result(request: "Request", config: TuningConfig, result: "Result") -> None:
    """Put into a result what ADD changes: the interface's hardware address, and its MTU if one is there.

    Args:
        request: the call.
        config: its configuration.
        result: that of the plugins before.
    """
    mac, mtu = config.attributes.mac, config.attributes.mtu
    for interface in result.interfaces:
        if interface.name == request.ifname:
            if mac is not None:
                interface.mac = mac.hex(":")
            if mtu is not None and interface.mtu:
                interface.mtu = mtu
