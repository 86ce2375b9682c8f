"""The container's side of an attachment: its link, addresses and routes."""

import os
import time
from _socket import AF_INET6
from errno import EEXIST

from shibafu.bridge.addressing import resolve_gateway
from shibafu.bridge.config import BridgeConfig
from shibafu.cni.result import IPConfig, Result, Route
from shibafu.lean.sysctl import try_sysctl
from shibafu.netfilter.forwarding import enable_ipv6
from shibafu.netlink.address import addr_add
from shibafu.netlink.constants import (
    IFF_NOARP,
    IPV4_DEVCONF_ARP_NOTIFY,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
)
from shibafu.netlink.link import Link
from shibafu.netlink.link_requests import link_set
from shibafu.netlink.route import route_add, route_list
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket
from shibafu.resource.base import INSIDE, Fault, Resource
from shibafu.resource.record import parse_known_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from shibafu.bridge.attachment import Attachment
    from shibafu.resource.view import View

# Two seconds, in pauses of a thousandth.
_LOCAL_LOOKS = 2000
_LOCAL_PAUSE = 0.001
# What runtimes call a container's first interface, and its number there: that of the loopback interface is 1.
FIRST_NAME, _FIRST_INDEX = "eth0", 2


class ContainerInterface(Resource):
    """The container's end of its link: addresses, routes, and the switches that go with them.

    Args:
        attachment: whose.
        own: what its network gave to it, and later plugins of the chain changed.
        port: the name of the link's other end on the host.
    """

    __slots__ = ("attachment", "own", "port")
    medium = INSIDE

    def __init__(self, attachment: "Attachment", own: Result, port: str) -> None:
        self.attachment = attachment
        self.own = own
        self.port = port

    def faults(self, view: "View") -> "Iterator[Fault]":
        """See `Resource.faults`."""
        from shibafu.bridge.resources.interface_faults import find_interface_faults

        return find_interface_faults(view, self)

    def find_mac(self) -> str:
        """Return the hardware address that it has by the result; empty where that says nothing."""
        return next((interface.mac.lower() for interface in self.own.interfaces if interface.mac), "")

    def refuses_routers(self) -> bool:
        """Return whether it ignores router advertisements, as ADD leaves it."""
        config = self.attachment.config
        is_own = bool(self.own.ips) and self.port == self.attachment.host_link
        return is_own and not config.accept_ra and not config.disable_container_interface

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"interface {self.attachment.ifname}"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        config, mac = self.attachment.config, self.find_mac()
        wanted: dict[str, object] = {"name": self.attachment.ifname, "arp": True}
        if not config.disable_container_interface:
            wanted["state"] = "up"
        for key, value in (("mac", mac), ("mtu", config.mtu)):
            if value:
                wanted[key] = value
        wanted["addresses"] = [str(ip.address) for ip in self.own.ips]
        # Attributes of a route that only newer versions have are not compared.
        wanted["routes"] = [route.to_json("0.4.0") for route in self.own.routes]
        if self.refuses_routers():
            wanted["acceptRA"] = False
        return wanted

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`. Neighbours hear of it by `Carrier`."""
        inside, config, mac = view.inside, self.attachment.config, self.find_mac()
        link = inside.link(self.attachment.ifname) if inside is not None else None
        if inside is None or link is None:
            return False  # what is missing, the port tells, or `Carrier`
        with inside.entered():
            if link.flags & IFF_NOARP or (mac and link.mac.hex(":") != mac):
                inside.sock.request(link_set(link.index, arp=True, mac=parse_known_mac(mac)))
            if self.attachment.request.command != "ADD":
                from shibafu.bridge.resources.interface_faults import mend_mtu

                mend_mtu(view, self, link)
            if link.up:
                from shibafu.bridge.resources.container_routes import delete_other_routes, ensure_subnets

                ensure_subnets(inside, link, [ip.address for ip in self.own.ips])
                delete_other_routes(inside, link, self.own.routes)
            if not self._is_first(link):
                from shibafu.bridge.resources.default_route import rank_default_routes

                rank_default_routes(inside, link, self.own.routes, config.metric)
            if not config.disable_container_interface:
                _configure(inside.sock, link, self.own, config)
        return False

    def _is_first(self, link: Link) -> bool:
        """Return whether this is the first interface of the container, which then has no other routes."""
        is_adding = self.attachment.request.command == "ADD"
        return is_adding and link.index <= _FIRST_INDEX and link.name == FIRST_NAME

    def remove(self) -> None:
        """Leave it: it goes with the host's end of its link."""


def _configure(sock: NetlinkSocket, link: Link, result: Result, config: BridgeConfig) -> None:
    """Set the container's link up with the addresses and routes of the result.

    The process must be inside the container's namespace, which is what /proc/sys/net shows.

    Args:
        sock: a socket in the container's namespace.
        link: the link.
        result: addresses and routes.
        config: says whether IPv6 looks for duplicates of the addresses before it uses them, for
            `wait_for_dad`, and whether it accepts router advertisements.

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
        switches |= (
            _accept_routers(ifname, config) if config.accept_ra else {"accept_ra": "0", "autoconf": "0"}
        )
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
    """Have the kernel announce the addresses to neighbours: another link may have had them.

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


def _accept_routers(ifname: str, config: BridgeConfig) -> dict[str, str]:
    """Return the switches of a link that accepts router advertisements; kernels before 5.12 have none."""
    from shibafu.bridge.resources.default_route import calc_usual_metric

    return {"ra_defrtr_metric": str(config.metric or calc_usual_metric(ifname))}


def _set_ipv6_switches(ifname: str, switches: dict[str, str]) -> None:
    # Looked up once: with 200 namespaces that also have a link of this name, it takes the kernel 0.2 ms.
    try:
        directory = os.open(f"/proc/sys/net/ipv6/conf/{ifname}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return  # a kernel without IPv6
    try:
        for switch, value in switches.items():
            try_sysctl(switch, value, directory)
    finally:
        os.close(directory)


def _route_request(index: int, route: Route, ips: list[IPConfig]) -> NetlinkRequest:
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
        exclusive=False,
    )
    return request.ignoring(EEXIST)
