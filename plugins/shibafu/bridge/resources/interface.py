"""The container's side of an attachment: its link, addresses and routes."""

import os
import time
from _socket import AF_INET6
from errno import EEXIST, ESRCH

from shibafu.bridge.addressing import find_own_interfaces, resolve_gateway, select_own_ips
from shibafu.bridge.attachment import parse_known_mac
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.resources.fabric import enable_ipv6
from shibafu.cni.errors import NETWORK_SETUP, CniError
from shibafu.cni.result import IPConfig, Result, Route
from shibafu.netfilter.forwarding import try_sysctl
from shibafu.netlink.address import addr_add, addr_list
from shibafu.netlink.constants import (
    DEVCONF_ACCEPT_RA,
    DEVCONF_AUTOCONF,
    IF_OPER_UP,
    IFA_F_DADFAILED,
    IFA_F_TENTATIVE,
    IFF_NOARP,
    IPV4_DEVCONF_ARP_NOTIFY,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTN_UNICAST,
)
from shibafu.netlink.link import Link, link_by_name, link_set
from shibafu.netlink.route import route_add, route_del, route_list
from shibafu.netlink.socket import NetlinkSocket, Request
from shibafu.resource.base import Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from shibafu.bridge.attachment import Attachment
    from shibafu.netlink.route import Route as KernelRoute
    from shibafu.resource.view import View

# Ten seconds, in pauses of a twentieth.
_DAD_LOOKS = 200
_DAD_PAUSE = 0.05
# Two seconds, in pauses of a thousandth.
_LOCAL_LOOKS = 2000
_LOCAL_PAUSE = 0.001


class ContainerInterface(Resource):
    """The container's end of its link: addresses, routes, and the switches that go with them.

    Args:
        attachment: whose.
        result: what its network gave it, and later plugins of the chain changed.
        port: the name of the link's other end on the host.
    """

    __slots__ = ("_attachment", "_port", "_result")

    def __init__(self, attachment: "Attachment", result: Result, port: str) -> None:
        self._attachment = attachment
        self._result = result
        self._port = port

    def faults(self, view: "View") -> "Iterator[Fault]":
        """See `Resource.faults`."""
        inside, ifname = view.inside, self._attachment.ifname
        link = inside.link(ifname) if inside is not None else None
        port = view.link(self._port)
        if inside is None or (link is None and port is None):
            return  # both ends come together, and the port tells
        if link is None:
            yield Fault(
                f"interface {ifname} of the container is missing",
                "somebody renamed or moved it; put it back, or attach the container again",
                is_mendable=False,
            )
            return
        if link.kind != "veth" or port is None or link.peer != port.index:
            yield Fault(
                f"interface {ifname} is not the other end of {self._port}",
                "somebody made it; remove it, and attach the container again",
                is_mendable=False,
            )
            return
        if not link.up and not self._attachment.config.disable_container_interface:
            yield Fault(f"interface {ifname} of the container is down")
        if link.flags & IFF_NOARP:
            yield Fault(f"interface {ifname} does not answer ARP requests", "somebody switched ARP off")
        mac = self._find_mac()
        if mac and link.mac.hex(":") != mac:
            yield Fault(f"interface {ifname} has the hardware address {link.mac.hex(':')}, not {mac}")
        # A later plugin of the chain may have set a lower one, which no result tells.
        if link.mtu > (mtu := self._attachment.config.mtu or link.mtu):
            yield Fault(
                f"interface {ifname} has an MTU of {link.mtu}, which is more than {mtu}",
                "what is larger than the other end of the link takes is lost",
            )
        present = inside.addresses(link)
        for ip in self._own_ips():
            if (ip.address.address.packed, ip.address.prefix) not in present:
                yield Fault(f"address {ip.address} is missing on {ifname}")
        for route in self._result.routes:
            yield from _find_route_faults(inside, link, route)
        if self._refuses_routers():
            yield from _find_advertisement_faults(link)

    def _own_ips(self) -> list[IPConfig]:
        return select_own_ips(self._attachment.request, self._result)

    def _find_mac(self) -> str:
        """Return the hardware address that it has by the result; empty where that says nothing."""
        places = find_own_interfaces(self._attachment.request, self._result)
        return next((mac for i in places if (mac := self._result.interfaces[i].mac.lower())), "")

    def _refuses_routers(self) -> bool:
        """Return whether it does not listen to router advertisements: so ADD of ours has left it."""
        config = self._attachment.config
        is_own = bool(self._result.ips) and self._port == self._attachment.host_link
        return is_own and not config.accept_ra and not config.disable_container_interface

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"interface {self._attachment.ifname}"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        config, mac = self._attachment.config, self._find_mac()
        wanted: dict[str, object] = {"name": self._attachment.ifname, "arp": True}
        if not config.disable_container_interface:
            wanted["state"] = "up"
        for key, value in (("mac", mac), ("mtu", config.mtu)):
            if value:
                wanted[key] = value
        wanted["addresses"] = [str(ip.address) for ip in self._own_ips()]
        # What newer versions know of a route is not compared.
        wanted["routes"] = [route.to_json("0.4.0") for route in self._result.routes]
        if self._refuses_routers():
            wanted["acceptRA"] = False
        return wanted

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`. Neighbours hear of it, if it is not for `Carrier` to tell them."""
        inside, config, mac = view.inside, self._attachment.config, self._find_mac()
        link = inside.link(self._attachment.ifname) if inside is not None else None
        if inside is None or link is None:
            return False  # what is missing, the port tells, or `Carrier`
        own = Result(ips=self._own_ips(), routes=self._result.routes)
        with inside.entered():
            if link.flags & IFF_NOARP or (mac and link.mac.hex(":") != mac):
                inside.sock.request(link_set(link.index, arp=True, mac=parse_known_mac(mac)))
            if 0 < config.mtu < link.mtu:
                inside.sock.request(link_set(link.index, mtu=config.mtu))
            for route in own.routes if link.up else ():
                _delete_other_routes(inside, link, route)
            if not config.disable_container_interface:
                _configure(inside.sock, link, own, config)
        if own.ips and link.operstate == IF_OPER_UP:
            announce_addresses(inside.sock, link.name, parse_known_mac(mac) or link.mac, own)
        return False

    def remove(self) -> None:
        """Leave it: it goes with the host's end of its link."""


def _find_advertisement_faults(link: Link) -> "Iterator[Fault]":
    for name, switch in (("accept_ra", DEVCONF_ACCEPT_RA), ("autoconf", DEVCONF_AUTOCONF)):
        if link.inet6_conf(switch):
            yield Fault(
                f"interface {link.name} listens to router advertisements, which any neighbour can send",
                f'{name} is on; switch it off in the container, or set the key "acceptRA"',
            )
            return


def _find_route_faults(inside: "View", link: Link, wanted: Route) -> list[Fault]:
    family, table = wanted.dst.network.address.family, wanted.table or RT_TABLE_MAIN
    stated = inside.once(("routes", family, table), lambda: route_list(inside.sock, None, family, table))
    found = _select_routes(stated, wanted)
    if not found:
        # A later plugin of the chain, such as sbr, may have moved it to another table.
        others = inside.once(
            ("routes of", link.index, family), lambda: route_list(inside.sock, link.index, family, None)
        )
        found = _select_routes(others, wanted)
    if not found:
        return [Fault(f"route to {wanted.dst} is missing in the container")]
    if all(_has_other_gateway(present, wanted) for present in found):
        return [Fault(f"route to {wanted.dst} does not lead to {wanted.gw} in the container")]
    return []


def _select_routes(routes: "list[KernelRoute]", wanted: Route) -> "list[KernelRoute]":
    """Return the routes that have a destination."""
    destination = wanted.dst.network
    return [
        present
        for present in routes
        if present.type == RTN_UNICAST
        and present.dst_prefix == destination.prefix
        and (present.dst or bytes(len(destination.address.packed))) == destination.address.packed
    ]


def _has_other_gateway(present: "KernelRoute", wanted: Route) -> bool:
    """Return whether a route does not lead to the gateway that is stated, if one is."""
    gateway = wanted.gw.packed if wanted.gw is not None else b""
    # Of a route with several next hops, which has no link of its own, they are not known.
    return any(gateway) and present.index != 0 and present.gateway != gateway


def _delete_other_routes(inside: "View", link: Link, wanted: Route) -> None:
    """Delete the link's routes to a destination if none leads to the gateway that is stated.

    In IPv6 they would be used beside the one that is added.
    """
    family, table = wanted.dst.network.address.family, wanted.table or RT_TABLE_MAIN
    found = _select_routes(route_list(inside.sock, link.index, family, table), wanted)
    if all(_has_other_gateway(present, wanted) for present in found):
        inside.sock.request_all(
            [
                route_del(
                    link.index,
                    present.dst,
                    present.dst_prefix,
                    present.gateway,
                    family=family,
                    priority=present.priority,
                    table=table,
                ).ignoring(ESRCH)
                for present in found
            ]
        )


def _configure(sock: NetlinkSocket, link: Link, result: Result, config: BridgeConfig) -> None:
    """Set the container's link up with the addresses and routes of the result.

    The process must be inside the container's namespace, which is what /proc/sys/net shows.

    Args:
        sock: a socket in the container's namespace.
        link: the link.
        result: addresses and routes.
        config: says whether IPv6 looks for duplicates of the addresses before it uses them, for
            `wait_for_dad`, and whether it listens to routers.

    Raises:
        NetlinkError: the kernel refuses one of them.
        CniError: the kernel has no IPv6.
    """
    index, ifname = link.index, link.name
    dad = config.enable_dad
    if any(ip.address.version == 6 for ip in result.ips):
        enable_ipv6(ifname)
        switches = {"accept_dad": "1" if dad else "0", "keep_addr_on_down": "1", "ndisc_notify": "1"}
        if dad:
            switches["enhanced_dad"] = "1"
    elif config.keep_ipv6 or config.accept_ra or any(route.dst.version == 6 for route in result.routes):
        # The link-local address can be used at once, as on links with other ones.
        switches = {} if dad else {"accept_dad": "0"}
    else:
        switches = {"disable_ipv6": "1"}
    if result.ips:
        # Any neighbour could be the router, and give the container addresses and a default route.
        switches |= {} if config.accept_ra else {"accept_ra": "0", "autoconf": "0"}
        _set_ipv6_switches(ifname, switches)
    addresses = [ip.address for ip in result.ips]
    requests = [
        addr_add(index, a.address.packed, a.prefix, nodad=not dad).ignoring(EEXIST) for a in addresses
    ]
    # The kernel takes it in this order, too; otherwise the link would announce its addresses to nobody.
    requests.append(link_set(index, up=True, inet_conf={IPV4_DEVCONF_ARP_NOTIFY: 1}))
    requests += [_route_request(index, route, result.ips) for route in result.routes]
    sock.request_all(requests)


def announce_addresses(sock: NetlinkSocket, ifname: str, mac: bytes, result: Result) -> None:
    """Have the kernel tell neighbours whose the addresses are now: another link may have had them.

    By itself it would do so when the link comes up, which is before the bridge forwards. It also does when
    the hardware address is set, be it to the one that the link has (arp_notify, ndisc_notify).

    Args:
        sock: a socket in the container's namespace.
        ifname: the link's name.
        mac: its hardware address.
        result: the addresses.

    Raises:
        NetlinkError: the kernel refuses.
    """
    _wait_until_local(sock, {ip.address.address.packed for ip in result.ips if ip.address.version == 6})
    sock.request(link_set(ifname, mac=mac))


def _wait_until_local(sock: NetlinkSocket, addresses: set[bytes]) -> None:
    """Wait until the kernel takes packets for the IPv6 addresses.

    It adds an address at once, but leaves the route to it to a work queue, which may take it 40 ms
    (addrconf_dad_work in net/ipv6/addrconf.c); what arrives before that is refused.
    """
    if not addresses:
        return
    for _ in range(_LOCAL_LOOKS):
        if addresses <= {route.dst for route in route_list(sock, family=AF_INET6, table=RT_TABLE_LOCAL)}:
            return
        time.sleep(_LOCAL_PAUSE)


def _set_ipv6_switches(ifname: str, switches: dict[str, str]) -> None:
    # Looked up once: beside 200 namespaces that have a link of this name, too, that takes the kernel 0.2 ms.
    try:
        directory = os.open(f"/proc/sys/net/ipv6/conf/{ifname}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return  # a kernel without IPv6
    try:
        for switch, value in switches.items():
            try_sysctl(switch, value, directory)
    finally:
        os.close(directory)


def wait_for_dad(sock: NetlinkSocket, ifname: str, result: Result) -> None:
    """Wait until the kernel has found that nobody else has the IPv6 addresses, if there are any.

    Args:
        sock: a socket in the container's namespace.
        ifname: the link's name.
        result: the addresses.

    Raises:
        CniError: somebody has, or it takes longer than ten seconds.
    """
    link = link_by_name(sock, ifname)
    if link is None or not any(ip.address.version == 6 for ip in result.ips):
        return
    for _ in range(_DAD_LOOKS):
        addresses = addr_list(sock, link.index, AF_INET6)
        if any(address.flags & IFA_F_DADFAILED for address in addresses):
            raise CniError(
                NETWORK_SETUP,
                "duplicate address detection found another owner of the address",
                "remove the other owner from the bridge's network, or exclude the address from the range",
            )
        if not any(address.flags & IFA_F_TENTATIVE for address in addresses):
            return
        time.sleep(_DAD_PAUSE)
    raise CniError(NETWORK_SETUP, "duplicate address detection did not end")


def _route_request(index: int, route: Route, ips: list[IPConfig]) -> Request:
    gateway = resolve_gateway(route, ips)
    request = route_add(
        index,
        route.dst.network.address.packed,
        route.dst.prefix,
        gateway=gateway.packed if gateway is not None else None,
        priority=route.priority or None,
        table=route.table or RT_TABLE_MAIN,
        scope=route.scope,
        mtu=route.mtu or None,
        advmss=route.advmss or None,
        beside=True,
    )
    return request.ignoring(EEXIST)
