"""A network's firewall rules, removed with its last container."""

from shibafu.bridge.resources.rules_record import (
    recorded_backends,
    recorded_bridges,
    recorded_isolation,
    recorded_ranges,
    recorded_versions,
    was_masqueraded,
)
from shibafu.cni.names import IPTABLES
from shibafu.netfilter.backend import open_backend
from shibafu.netfilter.network_rulesets import NetworkRules
from shibafu.resource.base import NETWORK, Resource
from shibafu.resource.records import NetworkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.netfilter.backend import Backend


class RulesTeardown(Resource):
    """Removes a network's rules with its last container, in parallel with other work.

    Args:
        state: the network's records.
        env: the environment.
        bridge: the bridge that the configuration names; None to go by records alone.
        leaving: the link of the container that goes, which may still be there.
    """

    __slots__ = ("_backends", "_bridge", "_env", "_leaving", "_state")
    scope = NETWORK

    def __init__(
        self, state: NetworkState, env: "Mapping[str, str]", bridge: str | None, leaving: str = ""
    ) -> None:
        self._state = state
        self._env = env
        self._bridge = bridge
        self._leaving = leaving
        self._backends: list[Backend] = []

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the firewall's rules"

    def prepare_removal(self) -> None:
        """Start what is needed, if the last container goes and no other call is at work."""
        if not self._state.is_in_use(besides=self._leaving) and self._state.try_lock_exclusive():
            self._prepare_if_unused(self._leaving)

    def remove(self) -> None:
        """Begin, once the container's link is gone."""
        for backend in self._backends:
            backend.start_teardown()

    def settle_removal(self) -> None:
        """Complete: the rules are gone, unless the network has containers.

        Raises:
            CniError: FIREWALL when they cannot be removed.
        """
        try:
            if not self._backends and not self._state.is_in_use():
                self._state.lock_exclusive()
                self._prepare_if_unused()
                self.remove()
            if self._backends:
                self._finish()
        finally:
            self._state.unlock()

    def _finish(self) -> None:
        # What is started from now on is for rules that somebody else changed.
        self._state.hand_down_lock(True)
        for backend in self._backends:
            backend.finish_teardown()
        self._state.remove_rules()
        # The programs are done, and wait for the kernel for 20 ms more.
        self._state.unlock_for_all()

    def _prepare_if_unused(self, leaving: str = "") -> None:
        """Prepare under the exclusive lock: before it was got, an ADD may have come or a DEL ended."""
        record = self._state.read_rules()
        if record and not self._is_in_use(leaving, record):
            # Should this process be killed, nobody makes rules before the programs have removed theirs.
            self._state.hand_down_lock(True)
            try:
                for name in recorded_backends(record):
                    backend = _open_recorded(self._state.network, record, name, self._env)
                    backend.prepare_teardown(self._state.versions_of_others(IPTABLES))
                    self._backends.append(backend)
            except BaseException:
                # Whatever it is: those that wait would hold the lock.
                for backend in self._backends:
                    backend.cancel_teardown()
                self._backends.clear()
                raise
            finally:
                self._state.hand_down_lock(False)

    def _is_in_use(self, leaving: str, record: dict[str, object]) -> bool:
        if self._bridge is None:
            return self._state.is_in_use(leaving)
        from shibafu.bridge.resources.occupancy import is_in_use

        return is_in_use(self._state, self._bridge, leaving, record)


def teardown_if_unused(state: NetworkState, env: "Mapping[str, str]", bridge: str | None) -> None:
    """Remove the network's rules if none of its containers is left.

    Args:
        state: the network's records.
        env: the environment.
        bridge: the bridge that the configuration names; None to go by records alone.

    Raises:
        CniError: FIREWALL when they cannot be removed.
    """
    if state.read_rules():
        RulesTeardown(state, env, bridge).settle_removal()


def teardown_backends(
    state: NetworkState, record: dict[str, object], names: list[str], env: "Mapping[str, str]"
) -> None:
    """Remove the rules that some backends have of a network.

    Args:
        state: the network's records, with its lock held exclusively.
        record: what the rules were made with.
        names: the backends.
        env: the environment.

    Raises:
        CniError: FIREWALL when they cannot be removed.
    """
    for name in names:
        backend = _open_recorded(state.network, record, name, env)
        backend.prepare_teardown(state.versions_of_others(IPTABLES))
        backend.start_teardown()
        backend.finish_teardown()


def _open_recorded(network: str, record: dict[str, object], name: str, env: "Mapping[str, str]") -> "Backend":
    """Return a backend that the rules were made with, whatever the configuration says now."""
    rules = NetworkRules(
        network,
        recorded_bridges(record),
        recorded_ranges(record, "subnets"),
        was_masqueraded(record),
        recorded_isolation(record),
        recorded_versions(record, "versions"),
        recorded_versions(record, "bridged"),
        bool(record.get("strict")),
        is_rerouted=bool(record.get("rerouted")),
    )
    return open_backend(name, rules, env)
