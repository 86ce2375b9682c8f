"""Rules for a bridge's ports in a table of nftables that all ports of a network share."""

from shibafu.netfilter.nftables import Nftables
from shibafu.resource.base import ATTACHMENT, Fault, Resource
from shibafu.resource.records import NetworkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shibafu.bridge.config import BridgeConfig
    from shibafu.cni.errors import CniError
    from shibafu.cni.request import Request
    from shibafu.netfilter.ruleset import Ruleset
    from shibafu.resource.view import View


class PortTable(Resource):
    """The rules of one port; the table goes with the last port that needs it.

    Args:
        state: the network's records.
        bridge: the bridge that the configuration names.
        port: the link on the host; empty to remove what no port needs.
        env: the environment.
    """

    __slots__ = ("_bridge", "_env", "_is_removable", "_port", "_state")
    is_removal_barrier = True
    # What to do where nft is missing.
    nft_advice: str

    def __init__(self, state: NetworkState, bridge: str, port: str, env: "Mapping[str, str]") -> None:
        self._state = state
        self._bridge = bridge
        self._port = port
        self._env = env
        self._is_removable = True

    @classmethod
    def obstacle(cls, request: "Request", config: "BridgeConfig") -> "CniError | None":
        """See `Resource.obstacle`."""
        from shibafu.resource.obstacles import find_missing_program

        return find_missing_program("nft", request.env, cls.nft_advice)

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        ruleset = self._calc_ruleset()
        listing = view.once(("nftables", ruleset.name), Nftables(ruleset, self._env).read)
        difference = listing.find_difference(ruleset)
        return [self._calc_fault(f"nftables: {difference}")] if difference else []

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`. The port's link is there.

        The network's lock is held, so that the last DEL does not take the table away at the same moment.
        Should this process be killed, the program it started goes on holding it.
        """
        self._is_removable = False
        table = Nftables(self._calc_ruleset(), self._env)
        self._is_removable = True
        self._note_in_record()
        is_locked_here = self._state.hold_shared()
        try:
            self._state.hand_down_lock(True)
            self._make(table)
        finally:
            self._state.hand_down_lock(False)
            if is_locked_here:
                self._state.unlock()
        return self.scope == ATTACHMENT

    def remove(self) -> None:
        """See `Resource.remove`. Where nothing could be made, nothing is."""
        if self._is_removable:
            remove_port_rules(self._state, self._calc_ruleset(), self._env, self._is_needed)

    def _calc_ruleset(self) -> "Ruleset":
        """Return the table, with this port's elements if it has sets."""
        raise NotImplementedError

    def _calc_fault(self, seen: str) -> Fault:
        """Return the fault of rules that are missing; `seen` says which."""
        raise NotImplementedError

    def _note_in_record(self) -> None:
        """Remember, before the rules are made, what DEL will have to remove."""

    def _make(self, table: Nftables) -> None:
        """Make the rules, with the network's lock held.

        Raises:
            CniError: nft refused.
        """
        table.repair()

    def _is_needed(self) -> bool:
        """Return whether other ports need the table."""
        raise NotImplementedError


def remove_port_rules(
    state: NetworkState, ruleset: "Ruleset", env: "Mapping[str, str]", is_needed: "Callable[[], bool]"
) -> None:
    """Remove the elements that ports have in a table's sets, or all of the table if nobody else needs it.

    Args:
        state: the network's records.
        ruleset: the table, with the elements of these ports.
        env: the environment.
        is_needed: whether other ports need the table; asked with the network's lock held.

    Raises:
        CniError: nft is not installed, or refused.
    """
    # Between looking for other links and removing the table, none may come.
    state.lock_exclusive()
    try:
        if not is_needed():
            Nftables(ruleset, env).teardown()
        elif ruleset.sets:
            Nftables(ruleset, env).remove_elements()
    finally:
        state.unlock()
