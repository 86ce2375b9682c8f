"""The host's side of a network: the bridge, its addresses, its ports."""

import os
from errno import EEXIST, ENODEV

from shibafu.bridge.config import BridgeConfig
from shibafu.cni.errors import INVALID_CONFIG, NETWORK_SETUP, CniError
from shibafu.cni.ip import Cidr
from shibafu.cni.names import calc_digest
from shibafu.firewall.forwarding import write_sysctl
from shibafu.netlink.address import addr_add, addr_del, addr_list
from shibafu.netlink.constants import IFF_PROMISC, IFF_UP
from shibafu.netlink.link import Link, link_add_bridge, link_by_name, link_set
from shibafu.netlink.socket import NetlinkSocket


def calc_mac(first_byte: int, *owner: str) -> bytes:
    """Return a locally administered unicast hardware address that stands for its owner.

    An address that was set explicitly is one that udev leaves alone, and one that is computed is the
    same when a link is made again, so that neighbours' caches stay right.
    """
    return bytes([first_byte]) + bytes.fromhex(calc_digest(*owner, size=5))


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
        request = link_add_bridge(config.bridge, mac=mac, mtu=config.mtu or None)
        # Another ADD may have been first.
        created = sock.request(request.ignoring(EEXIST)) == 0
        link = link_by_name(sock, config.bridge)
        if created:
            refuse_router_advertisements(config.bridge)
    if link is None:
        raise CniError(NETWORK_SETUP, f'failed to create bridge "{config.bridge}": it vanished')
    if link.kind != "bridge":
        raise CniError(
            INVALID_CONFIG,
            f'failed to create bridge "{config.bridge}": "{config.bridge}" already exists but is not a bridge',
            'choose another name for "bridge"',
        )
    _ensure_flags(sock, config, link)
    return link, created


def _ensure_flags(sock: NetlinkSocket, config: BridgeConfig, link: Link) -> None:
    if not link.flags & IFF_UP:
        sock.request(link_set(link.index, up=True))
    if config.promisc_mode and not link.flags & IFF_PROMISC:
        sock.request(link_set(link.index, promisc=True))


def _machine_id() -> str:
    """Return what tells this machine's bridges from those of others, machine-id(5)."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            return file.read()
    except (OSError, ValueError):
        return os.urandom(16).hex()


def ensure_gateway_addresses(
    sock: NetlinkSocket, bridge: Link, gateways: list[Cidr], created: bool, force: bool
) -> None:
    """Give the bridge the gateways' addresses.

    An IPv4 address that is none of them, or an IPv6 one of an overlapping subnet, is a conflict.

    Args:
        sock: a socket in the host's namespace.
        bridge: the bridge.
        gateways: the addresses that it shall have.
        created: whether the bridge is new, and so has none.
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
    """Keep containers from configuring the host by router advertisements."""
    try:
        write_sysctl(f"/proc/sys/net/ipv6/conf/{link}/accept_ra", "0")
    except FileNotFoundError:
        pass  # a kernel without IPv6 has none to refuse


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
