"""What ADD answers."""

from shibafu.bridge.attachment import Attachment
from shibafu.cni.result import Interface, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.resource.view import View


def require_answerable(attachment: Attachment) -> None:
    """Refuse what cannot be answered in the configuration's version, before anything is done.

    Raises:
        CniError: the oldest versions have no result without addresses.
    """
    if not attachment.config.has_ipam:
        Result().to_json(attachment.request.cni_version)


def render_answer(attachment: Attachment, result: Result, view: "View") -> dict[str, object]:
    """Return the result of an attachment that is made, in the configuration's version.

    Args:
        attachment: the attachment.
        result: addresses and routes; it takes in the rest.
        view: the host's namespace, together with the container's.
    """
    result.interfaces = _find_interfaces(attachment, view)
    result.dns = attachment.config.dns or result.dns
    return result.to_json(attachment.request.cni_version)


def _find_interfaces(attachment: Attachment, view: "View") -> list[Interface]:
    """Return the result's interfaces; `addressing.CONTAINER_INTERFACE` is the place of the container's."""
    config, version = attachment.config, attachment.request.cni_version
    bridge, port = view.link(config.bridge), view.link(attachment.host_link)
    gateway = view.link(config.gateway_link) if config.is_gateway else None
    if version == "1.1.0":
        # Its MTU may have followed that of its new port.
        bridge = view.look_again(config.bridge) or bridge
    mtu = port.mtu if port is not None and version == "1.1.0" else 0
    interfaces = [
        Interface(
            config.bridge,
            bridge.mac.hex(":") if bridge is not None else "",
            mtu=bridge.mtu if bridge is not None and version == "1.1.0" else 0,
        ),
        Interface(attachment.host_link, attachment.host_mac.hex(":"), mtu=mtu),
        Interface(attachment.ifname, attachment.mac.hex(":"), attachment.request.netns, mtu),
    ]
    if gateway is not None and gateway.name != config.bridge:
        interfaces.append(Interface(gateway.name, gateway.mac.hex(":")))
    return interfaces
