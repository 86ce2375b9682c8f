"""Connections of UDP that began before ports were published, or while they were.

Their packets meet no rule: clients that go on sending would never get to the container, or always to one that
is gone.
"""

from _socket import AF_INET, AF_INET6, IPPROTO_UDP

from shibafu.resource.base import Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.netlink.conntrack import Flow
    from shibafu.netlink.socket import NetlinkSocket
    from shibafu.portmap.publication import Publication
    from shibafu.resource.view import View

_FAMILIES = {4: AF_INET, 6: AF_INET6}


class _Flows(Resource):
    """Connections to published ports.

    Args:
        publication: what is published.
    """

    __slots__ = ("_publication",)

    def __init__(self, publication: "Publication") -> None:
        self._publication = publication

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "connections of UDP"

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        return []

    def has_udp(self) -> bool:
        """Return whether any port is one of UDP."""
        return any(one.protocol == "udp" for one in self._publication.mappings)

    def forget(self, local: set[bytes], is_ours: bool) -> None:
        """Forget connections.

        Args:
            local: the host's own addresses.
            is_ours: whether they are those that lead to the container, or such to the host that do not.
        """
        from shibafu.netlink.conntrack import NETLINK_NETFILTER, flow_del, has_flows
        from shibafu.netlink.errors import NetlinkError
        from shibafu.netlink.socket import NetlinkSocket

        if not has_flows():
            return
        udp = [one for one in self._publication.mappings if one.protocol == "udp"]
        try:
            with NetlinkSocket(protocol=NETLINK_NETFILTER) as sock:
                for version in self._publication.targets:
                    ports = [(one.first, one.last) for one in udp if one.is_of(version)]
                    found = self._find(sock, version, ports, is_ours) if ports else []
                    # To others' servers, containers have connections with the same ports.
                    stale = [f for f in found if is_ours or f.destination in local or f.destination[0] == 127]
                    flow_del(sock, stale)
        except NetlinkError:
            pass  # the kernel tracks no connections, or does not tell

    def _find(
        self, sock: "NetlinkSocket", version: int, ports: list[tuple[int, int]], is_ours: bool
    ) -> "list[Flow]":
        """Return those to ports that lead to the container, or those that do not."""
        from shibafu.netlink.conntrack import flow_list

        packed = self._publication.targets[version].address.packed
        # The kernel compares with one port: of several, all connections are looked at.
        is_one = len(ports) == 1 and ports[0][0] == ports[0][1]
        port, answerer = ports[0][0] if is_one else 0, packed if is_ours else b""
        return [
            flow
            for flow in flow_list(sock, _FAMILIES[version], IPPROTO_UDP, port=port, answerer=answerer)
            if any(first <= flow.port <= last for first, last in ports)
            and (flow.answerer == packed) == is_ours
        ]


class EarlierFlows(_Flows):
    """Those that began before the ports were published: they are forgotten after the rules are made."""

    __slots__ = ()

    def ensure(self, view: "View") -> bool:
        """Forget those to the host's own addresses that do not lead to the container."""
        from shibafu.netlink.address import addr_list

        if self.has_udp():
            self.forget({address.ip for address in addr_list(view.sock)}, is_ours=False)
        return True

    def remove(self) -> None:
        """See `Resource.remove`."""


class LastingFlows(_Flows):
    """Those that began while the ports were published: they are forgotten after the rules are removed.

    Any earlier, the next packet of a client that is still sending would begin another one.
    """

    __slots__ = ()

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`: clients make them."""
        return False

    def remove(self) -> None:
        """Forget those that lead to the container."""
        if self.has_udp():
            self.forget(set(), is_ours=True)
