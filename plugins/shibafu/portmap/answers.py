"""Answers of a container that is on several networks: they leave by the one that the question came through.

Its default route leads by one of them. What comes through a published port of another one would be answered
through that, where a host with strict rp_filter drops it: it does not expect such a source on that link.
"""

from errno import EEXIST, ENOENT, ESRCH

from shibafu.netlink.inet import calc_family
from shibafu.netlink.link import link_by_name
from shibafu.netlink.route import route_add, route_del, route_list
from shibafu.netlink.rule import SourceRule, rule_add, rule_del, rule_list
from shibafu.resource.base import MEND, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.result import IPConfig
    from shibafu.lean.ip import Cidr
    from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket
    from shibafu.resource.view import View

# Of the container's tables and rules, numbers that nobody else is likely to have chosen.
_FIRST_TABLE = 0x5B1B0000
_PRIORITY = 0x5B1B
_ADVICE = (
    "the container has been connected to another network since, or somebody removed a rule or a route in it; "
    f"{MEND}"
)


class AnswerRoutes(Resource):
    """A routing table of the container for packets from its published addresses, where these need one.

    Args:
        sock: a socket of the container's namespace.
        ifname: its interface.
        targets: the addresses that ports are published for.
        ips: what the interface was given, gateways included.
    """

    __slots__ = ("_ifname", "_ips", "_sock", "_targets")

    def __init__(
        self, sock: "NetlinkSocket", ifname: str, targets: "list[Cidr]", ips: "list[IPConfig]"
    ) -> None:
        self._sock = sock
        self._ifname = ifname
        self._targets = targets
        self._ips = [ip for ip in ips if ip.gateway is not None and ip.address in targets]

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "routes of answers"

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        sock = self._sock
        for ip in self._ips:
            index = self._find_index(ip)
            if not index:
                continue
            family, table = ip.address.address.family, _FIRST_TABLE + index
            packed = ip.address.address.packed
            has_rule = any(r.source == packed and r.table == table for r in rule_list(sock, family))
            routes = route_list(sock, index, family, table)
            if not has_rule or not any(route.dst is None for route in routes):
                what = f"answers from {ip.address.address} leave the container by another network"
                return [Fault(what, _ADVICE)]
        return []

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`."""
        requests: list[NetlinkRequest] = []
        for ip in self._ips:
            index = self._find_index(ip)
            if not index or ip.gateway is None:
                continue
            table, own = _FIRST_TABLE + index, ip.address
            subnet = own.network.address.packed
            requests += [
                route_add(index, subnet, own.prefix, table=table),
                route_add(index, gateway=ip.gateway.packed, table=table),
                rule_add(SourceRule(own.address.packed, table, _PRIORITY)),
            ]
        if requests:
            self._sock.request_all([request.ignoring(EEXIST) for request in requests])
        return True

    def remove(self) -> None:
        """See `Resource.remove`."""
        sock = self._sock
        for target in self._targets:
            packed = target.address.packed
            rules = [rule for rule in rule_list(sock, calc_family(packed)) if rule.source == packed]
            for rule in rules:
                if rule.priority != _PRIORITY or rule.table < _FIRST_TABLE:
                    continue
                routes = route_list(sock, None, calc_family(packed), rule.table)
                requests = [
                    route_del(r.index, r.dst, r.dst_prefix, family=r.family, table=r.table) for r in routes
                ]
                requests.append(rule_del(rule))
                sock.request_all([request.ignoring(ENOENT, ESRCH) for request in requests])

    def _find_index(self, ip: "IPConfig") -> int:
        """Return the interface's number if the default route of an address's family is another's, else 0."""
        sock = self._sock
        link = link_by_name(sock, self._ifname)
        routes = route_list(sock, None, ip.address.address.family)
        defaults = [route for route in routes if route.dst is None]
        best = min(defaults, key=lambda route: route.priority, default=None)
        return link.index if link is not None and best is not None and best.index != link.index else 0
