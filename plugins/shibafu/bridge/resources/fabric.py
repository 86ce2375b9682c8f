"""The host's side of a network: the bridge, its addresses, its ports."""

import os
from errno import EEXIST, ENODEV

from shibafu.bridge.attachment import calc_mac
from shibafu.bridge.config import BridgeConfig
from shibafu.cni.errors import INVALID_CONFIG, NETWORK_SETUP, CniError
from shibafu.cni.ip import Cidr
from shibafu.cni.names import ISOLATED_GROUP
from shibafu.netfilter.forwarding import (
    ensure_forwarding,
    ensure_link_forwarding,
    is_link_forwarding,
    try_sysctl,
    write_sysctl,
)
from shibafu.netlink.address import addr_add, addr_del, addr_list
from shibafu.netlink.constants import DEVCONF_ACCEPT_RA, IF_OPER_UP, IFF_PROMISC
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import Link, link_add_bridge, link_by_name, link_set
from shibafu.netlink.socket import NetlinkSocket

_MACHINE_ID = "/etc/machine-id"
_HEX_DIGITS = frozenset(b"0123456789abcdef")


def ensure_bridge(sock: NetlinkSocket, config: BridgeConfig) -> tuple[Link, bool]:
    """Return the network's bridge and whether this call created it.

    Raises:
        CniError: a link of that name is something else than a bridge.
    """
    link = link_by_name(sock, config.bridge)
    created = False
    if link is None:
        # A bridge whose address is not set takes over its lowest port's, and changes it when that
        # leaves: for the containers, their gateway would be gone for as long as their caches live.
        mac = calc_mac(0x02, _machine_id(), config.bridge)
        request = link_add_bridge(
            config.bridge, mac=mac, mtu=config.mtu or None, vlan_filtering=True if config.has_vlans else None
        )
        try:
            # Another ADD may have been first.
            created = sock.request(request.ignoring(EEXIST)) == 0
        except NetlinkError as error:
            from shibafu.bridge.resources.vlans import explain_vlan_error

            raise explain_vlan_error(error) from None
        link = link_by_name(sock, config.bridge)
    if link is None:
        raise CniError(NETWORK_SETUP, f'failed to create bridge "{config.bridge}": it vanished')
    if link.kind != "bridge":
        raise CniError(
            INVALID_CONFIG,
            f'failed to create bridge "{link.name}": "{link.name}" already exists but is not a bridge',
            'choose another name for "bridge"',
        )
    _ensure_state(sock, config, link, created)
    if not config.vlan:
        _ensure_group(sock, link, config.isolate)
    if link.inet6_conf(DEVCONF_ACCEPT_RA) != 0:
        refuse_router_advertisements(link.name)
    if created and config.internal:
        from shibafu.bridge.resources.internal import close_bridge

        close_bridge(link.name)
    return link, created


def _ensure_state(sock: NetlinkSocket, config: BridgeConfig, link: Link, created: bool) -> None:
    if not created and link.operstate != IF_OPER_UP:
        # It has no port, so that its address can be pinned without disturbing neighbours' caches. Its
        # first port would change it.
        sock.request(link_set(link.index, up=True, mac=link.mac))
    if config.promisc_mode and not link.flags & IFF_PROMISC:
        sock.request(link_set(link.index, promisc=True))


def _ensure_group(sock: NetlinkSocket, link: Link, is_isolated: bool) -> None:
    """Let the rules of other isolated networks know a network's link by its group, or no longer."""
    if is_isolated != (link.group == ISOLATED_GROUP):
        sock.request(link_set(link.index, group=ISOLATED_GROUP if is_isolated else 0))


def _machine_id() -> str:
    """Return what tells this machine's bridges from those of others: machine-id(5), if it has been set.

    Images have an empty one, or the word "uninitialized", until a machine's first boot.
    """
    try:
        with open(_MACHINE_ID, "rb") as file:
            content = file.read()
    except OSError:
        content = b""
    digits = content.strip()
    is_set = len(digits) == 32 and _HEX_DIGITS.issuperset(digits)
    return (content if is_set else os.urandom(16)).hex()


def ensure_gateway(
    sock: NetlinkSocket, config: BridgeConfig, bridge: Link, gateways: list[Cidr], created: bool
) -> Link:
    """Make the host the containers' gateway, and return the link that has the gateways' addresses.

    That is the bridge itself or, in a VLAN, a link of the host's own that is a port of the bridge.

    Raises:
        CniError: the link has other addresses, or the kernel lacks a feature.
    """
    link = bridge
    if config.vlan:
        from shibafu.bridge.resources.vlans import ensure_gateway_link

        link = ensure_gateway_link(sock, bridge, config.vlan, config.preserve_default_vlan)
        _ensure_group(sock, link, config.isolate)
        if link.inet6_conf(DEVCONF_ACCEPT_RA) != 0:
            refuse_router_advertisements(link.name)
        created = False
    _ensure_addresses(sock, link, gateways, created, config.force_address)
    for version in {gateway.version for gateway in gateways}:
        ensure_forwarding(version)
        if not is_link_forwarding(link, version):
            ensure_link_forwarding(link.name, version)
    return link


def _ensure_addresses(
    sock: NetlinkSocket, bridge: Link, gateways: list[Cidr], created: bool, force: bool
) -> None:
    """Give a link the gateways' addresses.

    An IPv4 address that is none of them, or an IPv6 one of an overlapping subnet, is a conflict.

    Args:
        sock: a socket in the host's namespace.
        bridge: the link.
        gateways: the addresses that it shall have.
        created: whether it is new, and so has none.
        force: whether conflicting addresses are removed.

    Raises:
        CniError: there is a conflict and `force` is not set.
    """
    present = {} if created else {(a.ip, a.prefix): a for a in addr_list(sock, bridge.index)}
    wanted = {(g.address.packed, g.prefix): g for g in gateways}
    missing = [gateway for key, gateway in wanted.items() if key not in present]
    if not missing:
        return
    for key, address in present.items():
        conflict = next((g for g in missing if _conflicts(g, address.ip, address.prefix)), None)
        if key in wanted or conflict is None:
            continue
        if not force:
            raise CniError(
                INVALID_CONFIG,
                f'failed to set bridge addr: "{bridge.name}" already has an IP address different from '
                f"{conflict}",
                'remove the other address from the bridge, set "forceAddress", or choose another "bridge"',
            )
        sock.request(addr_del(bridge.index, address.ip, address.prefix))
    requests = [addr_add(bridge.index, g.address.packed, g.prefix).ignoring(EEXIST) for g in missing]
    if not created and bridge.mac:
        # Somebody else's bridge becomes a gateway: from now on its hardware address must not change.
        requests.append(link_set(bridge.index, mac=bridge.mac))
    if any(g.version == 6 for g in missing):
        enable_ipv6(bridge.name)
    sock.request_all(requests)


def _conflicts(gateway: Cidr, ip: bytes, prefix: int) -> bool:
    from shibafu.cni.ip import Address

    other = Cidr(Address.from_packed(ip), prefix)
    return gateway.version == other.version and (gateway.version == 4 or gateway.overlaps(other))


def refuse_router_advertisements(link: str) -> None:
    """Keep containers from configuring the host by router advertisements.

    A host that forwards refuses them anyway, unless it is told not to.
    """
    try_sysctl(f"/proc/sys/net/ipv6/conf/{link}/accept_ra", "0")


def enable_ipv6(link: str) -> None:
    """Let a link have IPv6 addresses, also where `default/disable_ipv6` is set.

    Raises:
        CniError: the kernel has no IPv6, or refuses.
    """
    try:
        write_sysctl(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6", "0")
    except OSError as error:
        raise CniError(
            NETWORK_SETUP,
            f"cannot enable IPv6 on {link}: {error}",
            "boot the kernel with IPv6, or remove the IPv6 ranges from the network",
        ) from None


def delete_bridge_if_unused(sock: NetlinkSocket, bridge: Link) -> None:
    """Delete a bridge that a failed call created, unless another call has put a port on it."""
    from shibafu.netlink.link import link_del, link_list

    if not link_list(sock, master=bridge.index):
        sock.request(link_del(bridge.index).ignoring(ENODEV))
