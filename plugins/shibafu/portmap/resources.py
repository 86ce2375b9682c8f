"""What a publication is made of: a place in the register, rules, a switch of the bridge."""

from shibafu.cni.errors import PORT_TAKEN, CniError
from shibafu.netfilter.forwarding import routes_loopback
from shibafu.resource.base import HOST, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping as Environment

    from shibafu.portmap.iptables_ports import IptablesPorts
    from shibafu.portmap.nftables_ports import NftablesPorts
    from shibafu.portmap.publication import Publication
    from shibafu.portmap.register import Companions, Register
    from shibafu.resource.view import View


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
        self._open().publish(self._publication, self._find_others(), self._is_paused)
        return True

    def _is_paused(self) -> bool:
        """Return whether rules of the network that are missing have been removed on purpose."""
        from shibafu.resource.pause_file import is_paused
        from shibafu.resource.records import NetworkState

        return is_paused(NetworkState(self._publication.network))

    def restore(self) -> None:
        """Make them out of whatever is left.

        Raises:
            CniError: it is refused.
        """
        self._open().restore(self._publication, self._find_others())

    def remove(self) -> None:
        """See `Resource.remove`."""
        register = self._register
        self._open().withdraw(self._publication, self._find_others(), register.is_complete)

    def _find_others(self) -> "Companions":
        return self._register.find_companions(self._publication)

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


def _refuse(what: str) -> CniError:
    return CniError(PORT_TAKEN, what, "choose another port, or 0 for any that is free")
