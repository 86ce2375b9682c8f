"""A network's firewall rules: made with its first container, gone with its last, healed between.

Most ADDs find the rules in place: one process checks them all while links are being made. What was
set up is remembered in the network's state as a hint; the check, not the hint, decides.
"""

from shibafu.bridge.state import NetworkState
from shibafu.cni.errors import CHECK_FAILED, CniError
from shibafu.cni.ip import Cidr, parse_cidr
from shibafu.firewall.iptables import Iptables
from shibafu.firewall.rules import NetworkRules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# What `start` found, and `finish` has to complete.
_CHECKING = "checking"  # rules were set up earlier, and are being checked
_MAKING = "making"  # there were none; they are being made under the exclusive lock
_WAITING = "waiting"  # there were none, but another ADD is at work


class Masquerade:
    """Makes sure of a network's rules during one ADD.

    Between `start` and `finish` the caller makes the links. The network's lock is held shared, so
    that the last DEL of the network cannot take the rules away in between.

    Args:
        state: the network's records.
        bridge: the network's bridge.
        subnets: the subnets of the container's addresses.
        env: the environment.
    """

    __slots__ = ("_backend", "_env", "_mode", "_remembered", "_rules", "_state")

    def __init__(
        self, state: NetworkState, bridge: str, subnets: list[Cidr], env: "Mapping[str, str]"
    ) -> None:
        self._state = state
        self._env = env
        self._rules = NetworkRules(state.network, bridge, subnets)
        self._remembered: dict[str, object] = {}
        self._mode = _WAITING
        self._backend = Iptables(self._rules, env)

    def start(self) -> None:
        """Begin: check what should be there, or make it when this is the network's first container."""
        self._state.lock_shared()
        if self._is_remembered():
            self._mode = _CHECKING
            self._backend.start_check()
        elif self._state.try_lock_exclusive() and not self._is_remembered():
            self._mode = _MAKING
            self._remember(complete=False)
            self._backend.start_setup()

    def finish(self) -> None:
        """Complete: after this all rules are there.

        Raises:
            CniError: FIREWALL when they cannot be made.
        """
        if self._mode == _CHECKING and self._backend.finish():
            return
        if self._mode == _MAKING:
            if not self._backend.finish():
                self._backend.repair()
            self._remember(complete=True)
        else:
            self._repair_unless_done()
        self._state.lock_shared()

    def cancel(self) -> None:
        """Wait for what was begun, so that nothing is made after the failed ADD was undone."""
        self._backend.finish()

    def _repair_unless_done(self) -> None:
        """Make the rules, unless another ADD did so while this one waited for its turn."""
        seen = self._remembered.get("stamp")
        self._state.lock_exclusive()
        if self._is_remembered() and self._remembered.get("stamp") != seen:
            return
        self._remember(complete=False)
        self._backend.repair()
        self._remember(complete=True)

    def _is_remembered(self) -> bool:
        """Tell whether rules for all the subnets were set up, by what is remembered now.

        The rules of this call become those of the whole network: every container's addresses count.
        """
        self._remembered = self._state.read_rules()
        subnets = recorded_subnets(self._remembered)
        is_covered = all(subnet in subnets for subnet in self._rules.subnets)
        self._rules = NetworkRules(self._rules.network, self._rules.bridge, self._rules.subnets + subnets)
        self._backend = Iptables(self._rules, self._env)
        complete = bool(self._remembered.get("complete"))
        return complete and is_covered and self._remembered.get("bridge") == self._rules.bridge

    def _remember(self, complete: bool) -> None:
        """Record the intention before the rules are made, and its completion after."""
        from time import monotonic_ns

        record: dict[str, object] = {
            "bridge": self._rules.bridge,
            "subnets": [str(subnet) for subnet in self._rules.subnets],
            "complete": complete,
            "stamp": monotonic_ns(),
        }
        self._state.write_rules(record)


def recorded_subnets(record: dict[str, object]) -> list[Cidr]:
    """Return the subnets of what the state remembers of a network's rules."""
    subnets = record.get("subnets")
    return [parse_cidr(str(subnet)) for subnet in subnets] if isinstance(subnets, list) else []


def teardown_if_unused(state: NetworkState, env: "Mapping[str, str]") -> None:
    """Remove the network's rules if none of its containers is left.

    Raises:
        CniError: FIREWALL when they cannot be removed.
    """
    if not state.read_rules() or state.is_in_use():
        return
    state.lock_exclusive()
    try:
        # An ADD may have begun, or another DEL have ended, while this one waited.
        record = state.read_rules()
        if record and not state.is_in_use():
            rules = NetworkRules(state.network, str(record.get("bridge", "")), recorded_subnets(record))
            Iptables(rules, env).teardown()
            state.remove_rules()
    finally:
        state.unlock()


def check_rules(
    state: NetworkState, bridge: str, subnets: list[Cidr], env: "Mapping[str, str]"
) -> "RulesCheck":
    """Begin to check that the rules for the subnets are there; `RulesCheck.finish` tells."""
    everything = subnets + recorded_subnets(state.read_rules())
    return RulesCheck(NetworkRules(state.network, bridge, everything), env)


class RulesCheck:
    """A check of a network's rules that runs beside other work."""

    __slots__ = ("_backend",)

    def __init__(self, rules: NetworkRules, env: "Mapping[str, str]") -> None:
        self._backend = Iptables(rules, env)
        self._backend.start_check()

    def finish(self) -> None:
        """Wait for the outcome.

        Raises:
            CniError: CHECK_FAILED when a rule is missing.
        """
        if not self._backend.finish():
            rules = self._backend.rules
            raise CniError(
                CHECK_FAILED,
                f"firewall rules of network {rules.network} are missing",
                f"a rule of chain {rules.chain} or a jump to it from POSTROUTING or FORWARD was removed; "
                "the next ADD of this network restores them",
            )
