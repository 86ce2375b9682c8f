"""firewalld's zone that a network's containers are in, by their addresses, where firewalld is running.

It forgets them when it is reloaded, and has them until then whatever happens to containers.
"""

from shibafu.cni.errors import FIREWALL, CniError
from shibafu.firewall.members import Members
from shibafu.firewall.needs import Needs
from shibafu.firewall.system_bus import BusError, SystemBus
from shibafu.resource.base import NETWORK, RULES, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shibafu.resource.view import View

_SERVICE = "org.fedoraproject.FirewallD1"
_OBJECT = (_SERVICE, "/org/fedoraproject/FirewallD1", "org.fedoraproject.FirewallD1.zone")
# What it answers where there is nothing to add, and where nothing of ours is there to be removed.
_ALREADY_SET = "ZONE_ALREADY_SET"
_ABSENT = ("UNKNOWN_SOURCE", "ZONE_CONFLICT", "INVALID_ZONE")


class ZoneSources(Resource):
    """The sources of a zone that a network has.

    They go with the network's rules in the table filter, of which there may be none.

    Args:
        members: the network's containers.
        needs: what one of these needs.
        env: the environment, by which the bus is found.
    """

    __slots__ = ("_env", "_members", "_needs")
    medium = RULES
    scope = NETWORK

    def __init__(self, members: Members, needs: Needs, env: "Mapping[str, str]") -> None:
        self._members = members
        self._needs = needs
        self._env = env

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"the sources of zone {self._needs.zone}"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"zone": self._needs.zone, "sources": self._needs.sources}

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`; what is said is the reference's."""
        zone = self._needs.zone
        advice = "firewalld was reloaded, or the source was removed; the next ADD of this network restores it"
        with _open_bus(self._env) as bus:
            return [
                Fault(f"failed to find the address {source} in {zone} zone", advice)
                for source in self._needs.sources
                if not _ask(bus, "querySource", zone, source)
            ]

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: firewalld refuses.
        """
        zone = self._needs.zone
        with self._members.lock(shared=True), _open_bus(self._env) as bus:
            for source in self._needs.sources:
                try:
                    bus.call(*_OBJECT, "addSource", zone, source)
                except BusError as error:
                    if _ALREADY_SET not in str(error):
                        raise CniError(
                            FIREWALL,
                            f"failed to add the address {source} to {zone} zone: {error}",
                            "see `firewall-cmd --get-active-zones`",
                        ) from None
        return False

    def remove(self) -> None:
        """See `Resource.remove`: nothing, as they go with the network's rules."""


def is_firewalld_running(env: "Mapping[str, str]") -> bool:
    """Return whether firewalld is on the system's bus."""
    try:
        with SystemBus(env) as bus:
            return bus.has_owner(_SERVICE)
    except (OSError, CniError):
        return False


def remove_sources(zone: str, sources: "Iterable[str]", env: "Mapping[str, str]") -> None:
    """Take sources out of a zone; where firewalld is not running there are none.

    Raises:
        CniError: firewalld refuses.
    """
    try:
        bus = SystemBus(env)
    except OSError:
        return
    with bus:
        if not bus.has_owner(_SERVICE):
            return
        for source in sources:
            try:
                bus.call(*_OBJECT, "removeSource", zone, source)
            except BusError as error:
                if not any(name in str(error) for name in _ABSENT):
                    what = f"failed to remove the address {source} from {zone} zone: {error}"
                    raise CniError(FIREWALL, what) from None


def has_sources(zone: str, sources: "Iterable[str]", env: "Mapping[str, str]") -> bool:
    """Return whether a zone has all of some sources."""
    with _open_bus(env) as bus:
        return all(_ask(bus, "querySource", zone, source) for source in sources)


def _open_bus(env: "Mapping[str, str]") -> SystemBus:
    try:
        return SystemBus(env)
    except OSError as error:
        raise CniError(
            FIREWALL,
            f"firewalld cannot be reached: {error.strerror or error}",
            'start it, or set "backend" to iptables',
        ) from None


def _ask(bus: SystemBus, method: str, zone: str, source: str) -> bool:
    try:
        return bool(bus.call(*_OBJECT, method, zone, source))
    except BusError:
        return False
