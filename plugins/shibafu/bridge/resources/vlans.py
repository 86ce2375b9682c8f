"""VLANs of a bridge's ports in the kernel; what is configured of them is in `config`."""

from errno import EEXIST, ENODEV, EOPNOTSUPP

from shibafu.bridge.config import calc_gateway_link
from shibafu.cni.errors import INVALID_CONFIG, NETWORK_SETUP, CniError
from shibafu.cni.names import calc_digest
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import Link, link_by_name
from shibafu.netlink.link_requests import link_add_veth, link_del, link_set
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket
from shibafu.netlink.vlan import bridge_vlan_add, bridge_vlan_del, bridge_vlan_list
from shibafu.resource.base import Fault

_NATIVE = 1
_MAX_NAME = 15  # IFNAMSIZ - 1, include/uapi/linux/if.h


def calc_port_vlans(
    index: int, vlan: int, trunk: list[int], default_pvid: int | None
) -> list[NetlinkRequest]:
    """Return the requests that put a port into its VLANs.

    Args:
        index: the port.
        vlan: the VLAN of its untagged frames; 0 for none that was chosen.
        trunk: the VLANs whose frames it carries tagged.
        default_pvid: the VLAN that the bridge has put it in already and that it leaves.
    """
    requests = []
    native = _calc_native(vlan, trunk)
    if default_pvid and default_pvid != native:
        requests.append(bridge_vlan_del(index, default_pvid))
    if native:
        requests.append(bridge_vlan_add(index, native, pvid=True, untagged=True))
    for low, high in _calc_runs([tagged for tagged in trunk if tagged != native]):
        requests.append(bridge_vlan_add(index, low, high if high > low else None))
    return requests


def _calc_native(vlan: int, trunk: list[int]) -> int:
    """Return the VLAN of a port's untagged frames: of a trunk without one it is 1, as in the reference."""
    return vlan or (_NATIVE if trunk else 0)


def _calc_runs(vlans: list[int]) -> list[tuple[int, int]]:
    """Return the runs of consecutive numbers: one request each in place of one for each VLAN."""
    runs: list[tuple[int, int]] = []
    for vlan in vlans:
        if runs and runs[-1][1] == vlan - 1:
            runs[-1] = (runs[-1][0], vlan)
        else:
            runs.append((vlan, vlan))
    return runs


def setup_port_vlans(sock: NetlinkSocket, requests: list[NetlinkRequest]) -> None:
    """Put a port into its VLANs, by the requests of `calc_port_vlans`.

    Raises:
        CniError: the bridge or the kernel does not filter VLANs.
    """
    try:
        sock.request_all(requests)
    except NetlinkError as error:
        raise explain_vlan_error(error) from None


def find_vlan_faults(sock: NetlinkSocket, port: Link, vlan: int, trunk: list[int]) -> list[Fault]:
    """Return in what a port's VLANs differ from the configuration's."""
    present = {entry.vid: entry for entry in bridge_vlan_list(sock, port.index)}
    native = _calc_native(vlan, trunk)
    missing = [wanted for wanted in ([native] if native else []) + trunk if wanted not in present]
    if missing:
        return [Fault(f"link {port.name} is not in VLAN {vid}") for vid in missing]
    if native and not present[native].pvid:
        return [Fault(f"link {port.name} has another VLAN than {native} for untagged frames")]
    return []


def explain_vlan_error(error: NetlinkError) -> CniError:
    """Return the error that the user sees, naming the kernel's feature where that is what is missing."""
    if error.errno == EOPNOTSUPP:
        return CniError(
            NETWORK_SETUP,
            f"{error}: this kernel has no VLAN filtering on bridges",
            'the keys "vlan" and "vlanTrunk" need a kernel with CONFIG_BRIDGE_VLAN_FILTERING',
        )
    return CniError(NETWORK_SETUP, str(error))


def ensure_gateway_link(
    sock: NetlinkSocket, bridge: Link, vlan: int, preserve_default: bool
) -> tuple[Link, bool]:
    """Return the host's own link in the VLAN, which is the gateway there, `br0.100`, and whether it is new.

    It is one end of a veth pair whose other end is a port of the bridge, as the reference makes it.

    Raises:
        CniError: the name is too long, or the bridge or the kernel does not filter VLANs.
    """
    name = calc_gateway_link(bridge.name, vlan)
    link = link_by_name(sock, name)
    if link is not None:
        return link, False
    if len(name) > _MAX_NAME:
        raise CniError(
            INVALID_CONFIG,
            f'failed to create vlan interface "{name}": name too long',
            'with "vlan" and "isGateway", the name of "bridge" must leave room for a dot and the VLAN',
        )
    port = "veth" + calc_digest("vlan", name, size=6)[:11]
    pair = link_add_veth(port, name, mtu=bridge.mtu, master=bridge.index)
    # Another ADD may have been first.
    is_new = sock.request(pair.ignoring(EEXIST)) == 0
    if is_new:
        try:
            _set_up_gateway_port(sock, port, bridge, vlan, preserve_default)
        except CniError:
            sock.request(link_del(port).ignoring(ENODEV))
            raise
        sock.request(link_set(name, up=True))
    link = link_by_name(sock, name)
    if link is None:
        raise CniError(NETWORK_SETUP, f'failed to find host interface "{name}"')
    return link, is_new


def _set_up_gateway_port(
    sock: NetlinkSocket, name: str, bridge: Link, vlan: int, preserve_default: bool
) -> None:
    port = link_by_name(sock, name)
    if port is not None:
        default = None if preserve_default else bridge.vlan_default_pvid
        setup_port_vlans(sock, calc_port_vlans(port.index, vlan, [], default))
