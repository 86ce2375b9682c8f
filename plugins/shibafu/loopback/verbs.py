"""ADD, CHECK and DEL: the interface is `lo`, whatever CNI_IFNAME says."""

from shibafu.cni.result import Interface, IPConfig, Result, parse_prev_result
from shibafu.loopback.lo import NAME, LoopbackInterface, list_addresses
from shibafu.resource.base import check_resources
from shibafu.resource.netns import Netns, open_container_netns
from shibafu.resource.view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request

_NO_MAC = "00:00:00:00:00:00"


def add(request: "Request") -> dict[str, object]:
    """Set the interface up, and return the result; behind other plugins, what these have answered.

    Raises:
        CniError, NetlinkError: why it could not be done.
    """
    previous = parse_prev_result(request.config, request.cni_version)
    with open_container_netns(request) as netns:
        view = View(netns.sock, netns=netns)
        LoopbackInterface(netns.sock).ensure(view)
        result = previous if previous is not None else _describe(request, view)
    return result.to_json(request.cni_version)


def check(request: "Request") -> None:
    """Look whether the interface is up.

    Raises:
        CniError: CHECK_FAILED when it is not.
    """
    with open_container_netns(request) as netns:
        check_resources([LoopbackInterface(netns.sock)], View(netns.sock, netns=netns))


def delete(request: "Request") -> None:
    """Set the interface down; with a namespace that is gone it has gone, too.

    Raises:
        NetlinkError: the kernel refuses.
    """
    try:
        netns = Netns(request.netns)
    except OSError:
        return
    with netns:
        LoopbackInterface(netns.sock).remove()


def _describe(request: "Request", view: View) -> Result:
    """Return the interface, and its first address of each family."""
    first = {address.version: address for address in reversed(list_addresses(view))}
    ips = [IPConfig(first[version], interface=0) for version in sorted(first)]
    return Result([Interface(NAME, _NO_MAC, request.netns)], ips)
