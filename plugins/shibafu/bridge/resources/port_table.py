"""Rules for a bridge's ports in a table of nftables that all ports of a network share."""

from shibafu.netfilter.nftables import Nftables
from shibafu.resource.base import ATTACHMENT, RULES, Fault, Resource
from shibafu.resource.records import NetworkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shibafu.bridge.config import BridgeConfig
    from shibafu.cni.errors import CniError
    from shibafu.cni.request import Request
    from shibafu.netfilter.ruleset import Ruleset
    from shibafu.netfilter.verification import Verification
    from shibafu.resource.view import View


class PortTable(Resource):
    """The rules of one port; the table is removed with the last port that needs it.

    Args:
        state: the network's records.
        bridge: the bridge that the configuration names.
        port: the link on the host; empty to remove what no port needs.
        env: the environment.
    """

    __slots__ = (
        "_bridge",
        "_env",
        "_is_broken",
        "_is_removable",
        "_is_verified",
        "_port",
        "_state",
        "_verification",
    )
    medium = RULES
    is_removal_barrier = True
    # What to do where nft is missing.
    nft_advice: str

    def __init__(self, state: NetworkState, bridge: str, port: str, env: "Mapping[str, str]") -> None:
        self._state = state
        self._bridge = bridge
        self._port = port
        self._env = env
        self._is_removable = True
        self._verification: Verification | None = None
        # Whether the rules were found right earlier, and nothing has changed since.
        self._is_verified = False
        # Whether a look has found that something is missing: then nothing else counts.
        self._is_broken = False

    @classmethod
    def obstacle(cls, request: "Request", config: "BridgeConfig") -> "CniError | None":
        """See `Resource.obstacle`."""
        from shibafu.resource.obstacles import find_missing_program

        return find_missing_program("nft", request.env, cls.nft_advice)

    def prepare(self) -> None:
        """See `Resource.prepare`."""
        self._watch()

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`. What was not prepared is examined, whatever is known about it."""
        if self._is_verified:
            return []
        ruleset = self._calc_ruleset()
        table = Nftables(ruleset, self._env)
        listing = view.once(("nftables", ruleset.name), table.read)
        difference = listing.find_difference(ruleset)
        self._is_broken = bool(difference)
        if difference:
            return [self._calc_fault(f"nftables: {difference}")]
        if self._verification is not None:
            self._verification.note(self._calc_subject(), (), table.pids, is_locked=False)
        return []

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
            verification = self._watch()
            if self._is_broken or not self._is_verified:
                self._make(table)
                verification.note(self._calc_subject(), (), table.pids, is_locked=True)
        finally:
            self.cancel()
            self._state.hand_down_lock(False)
            if is_locked_here:
                self._state.unlock()
        return self.scope == ATTACHMENT

    def remove(self) -> None:
        """See `Resource.remove`. Where nothing could be made, nothing is."""
        if self._is_removable:
            remove_port_rules(self._state, self._calc_ruleset(), self._env, self._is_needed)
        if self.scope == ATTACHMENT:
            self._state.remove_hint(self._hint)

    def cancel(self) -> None:
        """See `Resource.cancel`."""
        if self._verification is not None:
            self._verification.close()
            self._verification = None
        self._is_verified = False

    def _watch(self) -> "Verification":
        """Find out whether the rules have to be looked at; from now on, changes are noticed."""
        # Not at the top: DEL does without.
        from shibafu.netfilter.verification import Verification

        self.cancel()
        self._verification = Verification(self._state, self._hint)
        self._is_verified = self._verification.holds(self._calc_subject())
        return self._verification

    def _calc_subject(self) -> str:
        from shibafu.netfilter.verification import identify_table

        return identify_table(self._calc_ruleset(), self._env)

    @property
    def _hint(self) -> str:
        """What the rules are called among the network's hints; see `NetworkState.read_hint`."""
        raise NotImplementedError

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
    """Remove the elements that ports have in a table's sets, or the whole table if no other port needs it.

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
