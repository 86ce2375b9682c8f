"""What a publication is made of: a place in the register, rules, a switch of the bridge, old connections."""

from _socket import AF_INET, AF_INET6, IPPROTO_UDP

from shibafu.cni.errors import PORT_TAKEN, CniError
from shibafu.netfilter.forwarding import routes_loopback
from shibafu.resource.base import HOST, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping as Environment

    from shibafu.netlink.conntrack import Flow
    from shibafu.netlink.socket import NetlinkSocket
    from shibafu.portmap.iptables_ports import IptablesPorts
    from shibafu.portmap.mapping import Mapping
    from shibafu.portmap.nftables_ports import NftablesPorts
    from shibafu.portmap.publication import Publication
    from shibafu.portmap.register import Register
    from shibafu.resource.view import View

_FAMILIES = {4: AF_INET, 6: AF_INET6}


class PortClaim(Resource):
    """The publication's place in the register, which no other may have.

    Args:
        publication: what is published.
        register: the host's register, locked.
        env: the environment.
    """

    __slots__ = ("_env", "_publication", "_register")
    is_last = True

    def __init__(
        self, publication: "Publication", register: "Register", env: "Environment[str, str]"
    ) -> None:
        self._publication = publication
        self._register = register
        self._env = env

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the register of published ports"

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`: that the register is lost is nothing that packets notice."""
        return []

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: PORT_TAKEN, and who has the port.
        """
        own = self._publication
        for mapping, other in own.find_clashes(self._register.list_rivals(own)):
            if self._register.find(other.key) is None:
                continue  # it was removed for another of its ports
            if other.identity is None or not other.identity.has_ended():
                raise _refuse(f"{mapping} of the host is taken by {other.owner}")
            # Nobody has detached it, and its namespace is gone.
            from shibafu.portmap.plan import remove_publication

            remove_publication(other, self._register, self._env)
        from shibafu.portmap.occupants import find_occupant
        from shibafu.portmap.reference_ports import ReferencePorts

        clash = ReferencePorts(self._env, has_ports=True).find_clash(own)
        if clash is not None:
            raise _refuse(f"{clash[0]} of the host is taken by {clash[1]}")
        occupant = find_occupant(own)
        if occupant is not None:
            raise _refuse(f"{occupant[0]} of the host is taken by {occupant[1]}, which listens there")
        self._register.put(own)
        return True

    def remove(self) -> None:
        """See `Resource.remove`."""
        self._register.remove(self._publication.key)


class PortRules(Resource):
    """The rules that lead to the container.

    Args:
        publication: what is published.
        register: the host's register, locked.
        env: the environment.
    """

    __slots__ = ("_backend", "_env", "_publication", "_register")

    def __init__(
        self, publication: "Publication", register: "Register", env: "Environment[str, str]"
    ) -> None:
        self._publication = publication
        self._register = register
        self._env = env
        self._backend: NftablesPorts | IptablesPorts | None = None

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the rules of published ports"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        ports = [str(mapping) for mapping in self._publication.mappings]
        return {"ports": ports, "backend": self._publication.backend}

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        what = self._open().find_fault(self._publication)
        return [Fault(f"published ports lead nowhere: {what}", "it was removed")] if what else []

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`."""
        self._open().publish(self._publication, self._list_others(), self._is_paused)
        return True

    def _is_paused(self) -> bool:
        """Return whether rules of the network that are missing have been removed on purpose."""
        from shibafu.resource.pause import is_paused
        from shibafu.resource.records import NetworkState

        return is_paused(NetworkState(self._publication.network))

    def restore(self) -> None:
        """Make them out of whatever is left.

        Raises:
            CniError: it is refused.
        """
        self._open().restore(self._publication, self._list_others())

    def remove(self) -> None:
        """See `Resource.remove`."""
        register = self._register
        self._open().withdraw(self._publication, self._list_others(), register.is_complete)

    def _list_others(self) -> "list[Publication]":
        return self._register.list_companions(self._publication)

    def _open(self) -> "NftablesPorts | IptablesPorts":
        if self._backend is None:
            from shibafu.portmap.backends import open_ports

            self._backend = open_ports(self._publication.backend, self._env)
        return self._backend


class LoopbackRoute(Resource):
    """The switch that lets the host send from 127.0.0.1 to the container; shibafu-bridge takes it back.

    For IPv6 the kernel has none: nothing that is sent to `[::1]` can be translated.

    Args:
        publication: what is published.
    """

    __slots__ = ("_publication",)
    scope = HOST

    def __init__(self, publication: "Publication") -> None:
        self._publication = publication

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the routing of 127.0.0.1"

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        link = self._find_link(view)
        if not link or routes_loopback(link):
            return []
        advice = f"net.ipv4.conf.{link}.route_localnet was set to 0"
        return [Fault("published ports cannot be reached at 127.0.0.1", advice, is_switch=True)]

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`."""
        from shibafu.netfilter.forwarding import route_loopback

        link = self._find_link(view)
        if not link or routes_loopback(link):
            return False
        route_loopback(link)
        return True

    def remove(self) -> None:
        """See `Resource.remove`: shibafu-bridge does, with the last port."""

    def _find_link(self, view: "View") -> str:
        """Return the link that leads to the container; empty if none does."""
        from shibafu.netlink.link import link_by_index
        from shibafu.netlink.route import route_get

        route = route_get(view.sock, self._publication.targets[4].address.packed)
        link = link_by_index(view.sock, route.index) if route is not None else None
        return link.name if link is not None else ""


class StaleFlows(Resource):
    """Connections of UDP that began before the ports were published, or while they were.

    Their packets meet no rule: clients that go on sending would never get to the container, or always to a
    container that is gone.

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

    def ensure(self, view: "View") -> bool:
        """Forget those to the host's own addresses that do not lead to the container."""
        from shibafu.netlink.address import addr_list

        udp = self._list_udp()
        if udp:
            own = {address.ip for address in addr_list(view.sock)}
            self._forget(udp, own, is_ours=False)
        return True

    def remove(self) -> None:
        """Forget those that lead to the container."""
        udp = self._list_udp()
        if udp:
            self._forget(udp, set(), is_ours=True)

    def _list_udp(self) -> "list[Mapping]":
        return [one for one in self._publication.mappings if one.protocol == "udp"]

    def _forget(self, udp: "list[Mapping]", local: set[bytes], is_ours: bool) -> None:
        from shibafu.netlink.conntrack import NETLINK_NETFILTER, flow_del, has_flows
        from shibafu.netlink.errors import NetlinkError
        from shibafu.netlink.socket import NetlinkSocket

        if not has_flows():
            return
        try:
            with NetlinkSocket(protocol=NETLINK_NETFILTER) as sock:
                for version in self._publication.targets:
                    ports = [(one.first, one.last) for one in udp if one.is_of(version)]
                    found = self._find_flows(sock, version, ports, is_ours) if ports else []
                    # To others' servers, containers have connections with the same ports.
                    stale = [f for f in found if is_ours or f.destination in local or f.destination[0] == 127]
                    flow_del(sock, stale)
        except NetlinkError:
            pass  # the kernel tracks no connections, or does not tell

    def _find_flows(
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


def _refuse(what: str) -> CniError:
    return CniError(PORT_TAKEN, what, "choose another port, or 0 for any that is free")
