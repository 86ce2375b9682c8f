"""Addresses that are in the way of a gateway's."""

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.resources.sharing import refuse_stricter
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.ip import Address, Cidr
from shibafu.netlink.address import Addr, addr_del
from shibafu.netlink.link import Link
from shibafu.netlink.socket import NetlinkSocket


def clear_conflicts(
    sock: NetlinkSocket, config: BridgeConfig, link: Link, missing: list[Cidr], others: list[Addr]
) -> None:
    """Remove a link's addresses that are in the way of a gateway's, if the network may do so.

    An IPv4 address is, and an IPv6 one of an overlapping subnet.

    Args:
        sock: a socket in the host's namespace.
        config: the network's configuration; with `forceAddress`, they are removed.
        link: the link.
        missing: the addresses that it is to have, and has not.
        others: those that it has, and that are not the network's.

    Raises:
        CniError: it may not: `forceAddress` is not set, or another network isolates the link.
    """
    for address in others:
        conflict = next((gateway for gateway in missing if _conflicts(gateway, address)), None)
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


def _conflicts(gateway: Cidr, present: Addr) -> bool:
    other = Cidr(Address.from_packed(present.ip), present.prefix)
    return gateway.version == other.version and (gateway.version == 4 or gateway.overlaps(other))
