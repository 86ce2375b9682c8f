"""Connections that were masqueraded for a router that packets no longer go to."""

from shibafu.netlink.address import addr_list
from shibafu.netlink.conntrack import NETLINK_NETFILTER, flow_del, flow_list, has_flows
from shibafu.netlink.constants import RTN_UNICAST
from shibafu.netlink.route import route_list
from shibafu.netlink.socket import NetlinkSocket


def forget_flows(sock: NetlinkSocket, family: int, left: int, entered: int) -> int:
    """Delete masqueraded connections that have used the default route through a link.

    They have that link's address, to which answers would not find the way back from elsewhere. Their next
    packets are the first ones of new connections, with an address of the other link. What went to a subnet
    that has a route of its own still goes there, and stays; so do connections of the host itself, and those
    that came from outside.

    Args:
        sock: a socket of the namespace.
        family: AF_INET or AF_INET6.
        left: the number of the link.
        entered: that of the link that packets use instead.

    Returns:
        How many.

    Raises:
        NetlinkError: the kernel refuses.
    """
    if left == entered or not has_flows():
        return 0
    addresses = {addr.ip for addr in addr_list(sock, left, family)}
    addresses -= {addr.ip for addr in addr_list(sock, entered, family)}
    subnets = _Subnets(sock, family)
    with NetlinkSocket(protocol=NETLINK_NETFILTER) as tracking:
        gone = [
            flow
            for address in addresses
            for flow in flow_list(tracking, family, asker=address)
            if flow.source != address and not subnets.contain(flow.answerer)
        ]
        flow_del(tracking, gone)
    return len(gone)


class _Subnets:
    """The destinations that have a route of their own, apart from the default route."""

    def __init__(self, sock: NetlinkSocket, family: int) -> None:
        # By the number of bits that do not matter.
        self._networks: dict[int, set[int]] = {}
        for route in route_list(sock, family=family):
            if route.dst is not None and route.type == RTN_UNICAST:
                host_bits = len(route.dst) * 8 - route.dst_prefix
                network = int.from_bytes(route.dst, "big") >> host_bits
                self._networks.setdefault(host_bits, set()).add(network)

    def contain(self, address: bytes) -> bool:
        """Return whether an address is in one of them."""
        number = int.from_bytes(address, "big")
        return any(number >> host_bits in networks for host_bits, networks in self._networks.items())
