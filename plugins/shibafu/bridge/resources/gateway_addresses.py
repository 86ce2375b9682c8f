"""Addresses that conflict with a gateway's, and what a failed ADD has changed of a gateway."""

from errno import EADDRNOTAVAIL, EEXIST, ENODEV

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.resources.shared_bridge import list_sharers, refuse_stricter
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.lean.ip import Address, Cidr
from shibafu.netlink.address import Addr, addr_add, addr_del
from shibafu.netlink.link import Link, link_by_name
from shibafu.netlink.link_requests import link_del
from shibafu.netlink.socket import NetlinkSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def clear_conflicts(
    sock: NetlinkSocket,
    config: BridgeConfig,
    link: Link,
    missing: list[Cidr],
    others: list[Addr],
    removed: list[Addr],
) -> None:
    """Remove a link's addresses that conflict with a gateway's, if the network may do so.

    Args:
        sock: a socket in the host's namespace.
        config: the network's configuration; with `forceAddress`, they are removed.
        link: the link.
        missing: the addresses that it is to have, and has not.
        others: those that it has, and that are not the network's.
        removed: is added those that were removed, also if one of them cannot be.

    Raises:
        CniError: it may not: `forceAddress` is not set, or another network isolates the link.
    """
    moved = _select_moved(config)
    for address in others:
        key = (address.ip, address.prefix)
        if key in moved:
            continue
        if config.shared_gateway is not None and config.shared_gateway.owns(address.ip):
            continue
        conflict = next((gateway for gateway in missing if find_conflict(gateway, [key])), None)
        if conflict is None:
            continue
        refuse_stricter(config)
        if not config.force_address:
            raise CniError(
                INVALID_CONFIG,
                f'failed to set bridge addr: "{link.name}" already has an IP address different from '
                f"{conflict}",
                'remove the other address from the bridge, set "forceAddress", or choose another "bridge"',
            )
        sock.request(addr_del(link.index, address.ip, address.prefix))
        removed.append(address)


def undo_gateway(
    config: BridgeConfig, port: str, has_new_link: bool, added: list[Cidr], removed: list[Addr]
) -> None:
    """Undo what a failed ADD has changed of a gateway, unless containers depend on it by then.

    Args:
        config: the network's configuration.
        port: the link of the attachment that failed.
        has_new_link: whether the link in the VLAN is new.
        added: the addresses that are new.
        removed: those that were in the way.
    """
    others = list(list_sharers(config, port))
    with NetlinkSocket() as sock:
        link = link_by_name(sock, config.gateway_link)
        if link is None:
            return
        if has_new_link and not any(other.has_gateway() for other in others):
            sock.request(link_del(link.index).ignoring(ENODEV))
            return
        if any(other.has_gateway(added) for other in others):
            return
        for gateway in added:
            request = addr_del(link.index, gateway.address.packed, gateway.prefix)
            sock.request(request.ignoring(EADDRNOTAVAIL))
        for address in removed:
            request = addr_add(link.index, address.ip, address.prefix, scope=address.scope)
            sock.request(request.ignoring(EEXIST))


def find_conflict(gateway: Cidr, others: "Iterable[tuple[bytes, int]]") -> Cidr | None:
    """Return the first of a link's other addresses that is in a gateway's way; None if there is none.

    An IPv4 address is, and an IPv6 one of an overlapping subnet.

    Args:
        gateway: the gateway's address, which the link has not.
        others: the link's addresses besides the gateways', with the lengths of their prefixes.
    """
    addresses = (Cidr(Address.from_packed(ip), prefix) for ip, prefix in others)
    same_family = (other for other in addresses if other.version == gateway.version)
    return next((other for other in same_family if gateway.version == 4 or gateway.overlaps(other)), None)


def select_possible(
    config: BridgeConfig, gateways: list[Cidr], present: set[tuple[bytes, int]]
) -> list[Cidr]:
    """Return the gateways' addresses that a link has, or could have in addition to its others."""
    wanted = {(gateway.address.packed, gateway.prefix): gateway for gateway in gateways}
    if config.shared_gateway is not None:
        present = config.shared_gateway.leave_out(present)
    others = present - wanted.keys() - _select_moved(config)
    return [g for key, g in wanted.items() if key in present or find_conflict(g, others) is None]


def _select_moved(config: BridgeConfig) -> set[tuple[bytes, int]]:
    """Return the addresses that a bridge has of its uplinks: they are in no gateway's way."""
    if config.uplinks is None or not config.uplinks.moves_addresses:
        return set()
    from shibafu.bridge.resources.moved_addresses import select_moved

    return select_moved(config)
