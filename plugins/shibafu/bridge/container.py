"""The container's side of an attachment: its link, addresses and routes."""

from _socket import if_nametoindex

from shibafu.bridge.addressing import resolve_gateway
from shibafu.bridge.host import enable_ipv6
from shibafu.cni.result import IPConfig, Result, Route
from shibafu.firewall.forwarding import write_sysctl
from shibafu.netlink.address import addr_add
from shibafu.netlink.constants import RT_TABLE_MAIN
from shibafu.netlink.link import link_set
from shibafu.netlink.route import route_add
from shibafu.netlink.socket import NetlinkSocket, Request


def configure_container(sock: NetlinkSocket, ifname: str, result: Result) -> None:
    """Set the container's link up with the addresses and routes of the result.

    The process must be inside the container's namespace, which is what /proc/sys/net shows.

    Args:
        sock: a socket in the container's namespace.
        ifname: the link's name.
        result: addresses and routes.

    Raises:
        NetlinkError: the kernel refuses one of them.
        CniError: the kernel has no IPv6.
    """
    index = if_nametoindex(ifname)
    _set_sysctls(ifname, any(ip.address.version == 6 for ip in result.ips))
    requests = [_address_request(index, ip) for ip in result.ips]
    # Up after the addresses: the kernel then announces them (arp_notify), so that neighbours forget
    # the link that had an address before.
    requests.append(link_set(index, up=True))
    requests += [_route_request(index, route, result.ips) for route in result.routes]
    sock.request_all(requests)


def _set_sysctls(ifname: str, has_ipv6: bool) -> None:
    write_sysctl(f"/proc/sys/net/ipv4/conf/{ifname}/arp_notify", "1")
    if not has_ipv6:
        return
    enable_ipv6(ifname)
    for switch, value in (("accept_dad", "0"), ("keep_addr_on_down", "1"), ("ndisc_notify", "1")):
        write_sysctl(f"/proc/sys/net/ipv6/conf/{ifname}/{switch}", value)


def _address_request(index: int, ip: IPConfig) -> Request:
    return addr_add(index, ip.address.address.packed, ip.address.prefix)


def _route_request(index: int, route: Route, ips: list[IPConfig]) -> Request:
    gateway = resolve_gateway(route, ips)
    return route_add(
        index,
        route.dst.network.address.packed,
        route.dst.prefix,
        gateway=gateway.packed if gateway is not None else None,
        priority=route.priority or None,
        table=route.table if route.table is not None else RT_TABLE_MAIN,
        scope=route.scope,
        mtu=route.mtu or None,
        advmss=route.advmss or None,
    )
