"""A network's firewall rules: made with its first container, gone with its last, healed between.

Most ADDs find the rules in place, and nothing changed since they were last looked at (`verification`).
Otherwise one process for each family makes sure of them all while links are being made. What was set up is
remembered in the network's state as a hint; the kernel, not the hint, decides.
"""

import sys

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.resources.rules_record import combine, recorded_backends, recorded_isolation
from shibafu.cni.names import IPTABLES, NFTABLES, STRICT, calc_isolate
from shibafu.netfilter.backend import (
    CODE,
    choose_backend,
    identify_programs,
    list_chains,
    list_versions,
    open_backend,
)
from shibafu.netfilter.network_rulesets import NetworkRules
from shibafu.resource.base import MEND, NETWORK, RULES, Fault, Resource
from shibafu.resource.records import NetworkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.cni.errors import CniError
    from shibafu.cni.request import Request
    from shibafu.netfilter.backend import Backend
    from shibafu.netfilter.verification import Place, Verification
    from shibafu.resource.view import View

# What `ensure` found, and `settle` has to complete.
_IDLE = "idle"
_VERIFIED = "verified"  # nothing has changed since the rules were found right
_ENSURING = "ensuring"  # rules were set up earlier, and are being looked at
_MAKING = "making"  # there were none; they are being made under the exclusive lock
_WAITING = "waiting"  # there were none or others, and another ADD may be at work


class Rules(Resource):
    """The rules of a network: what one of its containers needs, and what the others need by their records.

    Between `ensure` and `settle` links are made. The network's lock is held shared, so that the last DEL of
    the network cannot take the rules away in between.

    Args:
        state: the network's records.
        backend: the name of the backend.
        rules: what the container needs.
        env: the environment.
        changes_follow: whether the same call changes nf_tables between `ensure` and `settle`.

    Attributes:
        is_clear: whether no chain of others could drop anything, as far as `prepare` has found that out.
    """

    __slots__ = (
        "_backend",
        "_backend_name",
        "_changes_follow",
        "_env",
        "_is_trusting",
        "_mode",
        "_remembered",
        "_rules",
        "_state",
        "_verification",
        "is_clear",
    )
    medium = RULES
    scope = NETWORK

    def __init__(
        self,
        state: NetworkState,
        backend: str,
        rules: NetworkRules,
        env: "Mapping[str, str]",
        changes_follow: bool = False,
    ) -> None:
        self.is_clear = False
        self._state = state
        self._backend_name = backend
        self._rules = rules
        self._env = env
        self._backend: Backend | None = None
        self._mode = _IDLE
        self._remembered: dict[str, object] = {}
        self._verification: Verification | None = None
        self._changes_follow = changes_follow
        # Whether rules that were found right earlier are not looked at again.
        self._is_trusting = True

    @classmethod
    def obstacle(cls, request: "Request", config: BridgeConfig) -> "CniError | None":
        """See `Resource.obstacle`: a program that is not installed."""
        from shibafu.bridge.resources.foreign_drops import find_stated_subnets
        from shibafu.resource.obstacles import find_missing_program

        env = request.env
        backend = choose_backend(config.ip_masq_backend, env)
        programs = ["nft"] if backend == NFTABLES else ["iptables-restore"]
        # A network of IPv4 alone does not need it, unless it is isolated over both families.
        has_ipv6 = any(":" in subnet for subnet in find_stated_subnets(request))
        if backend != NFTABLES and (config.isolate or has_ipv6):
            programs.append("ip6tables-restore")
        switches = " and ".join(
            key for key, value in (('"ipMasq"', config.ip_masq), ('"isolate"', config.isolate)) if value
        )
        details = f'install it, or set {switches} to false; "ipMasqBackend" is {backend}'
        found = (find_missing_program(program, env, details) for program in programs)
        return next((obstacle for obstacle in found if obstacle is not None), None)

    def prepare(self) -> None:
        """See `Resource.prepare`."""
        self._remembered = self._state.read_rules()
        # Rules that a failed ADD wanted to make are not this container's matter, nor what is left of them.
        is_complete = bool(self._remembered.get("complete"))
        everything = combine(self._rules, self._remembered if is_complete else {})
        if self._was_made(everything):
            self._watch()
            if self._is_verified(everything):
                self._mode = _VERIFIED
                return
        self._backend = open_backend(self._backend_name, everything, self._env)
        self._backend.start_check(is_exact=is_complete)

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`. What was not prepared is examined, whatever is known about it."""
        remembered = recorded_isolation(self._remembered or self._state.read_rules())
        is_open = bool(remembered) and not self._rules.isolation
        if is_open or (remembered == STRICT and self._rules.isolation != STRICT):
            what = f"firewall rules still isolate network {self._rules.network}"
            advice = f'the key "isolate" was changed; {MEND}, and the next ADD of this network'
            return [Fault(what if is_open else f"{what} strictly", advice)]
        if self._mode == _VERIFIED:
            self._mode = _IDLE
            return []
        if self._backend is None:
            self._is_trusting = False
            self.prepare()
        backend, self._backend = self._backend, None
        if backend is None:
            return []
        everything = combine(self._rules, self._remembered)
        chains = self._list_chains(everything)
        if backend.finish():
            self._note(backend, everything, chains, is_locked=False)
            return []
        seen = backend.detail or f"chain {self._rules.chain} or the jump to it was removed or moved"
        return [
            Fault(
                f"firewall rules of network {self._rules.network} {backend.fault}",
                f"{seen}; the next ADD of this network restores them",
            )
        ]

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the firewall's rules"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        rules = self._rules
        return {
            "backend": self._backend_name,
            "links": rules.bridges,
            "subnets": [str(subnet) for subnet in rules.subnets],
            "ipMasq": rules.is_masqueraded,
            "isolate": calc_isolate(rules.isolation),
            **({"nonMasqueradeCIDRs": [str(peer) for peer in rules.peers]} if rules.peers else {}),
            **({"bridged": [f"ipv{version}" for version in rules.bridged]} if rules.bridged else {}),
        }

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`. The network's lock is held until `settle` or `cancel`."""
        self._mode = _WAITING
        self._start()
        return False

    def settle(self) -> None:
        """See `Resource.settle`."""
        if self._mode != _IDLE:
            self._complete()
            self._mode = _IDLE
            self._close()
            self._state.unlock()

    def cancel(self) -> None:
        """See `Resource.cancel`. It also ends what `prepare` has started."""
        backend, self._backend = self._backend, None
        self._mode = _IDLE
        self._close()
        try:
            if backend is not None:
                backend.finish()
        finally:
            self._state.unlock()

    def remove(self) -> None:
        """See `Resource.remove`."""
        from shibafu.bridge.resources.rules_removal import teardown_if_unused

        teardown_if_unused(self._state, self._env, self._rules.bridges[0])

    def _open(self) -> "Backend":
        if self._backend is None:
            self._backend = open_backend(self._backend_name, self._rules, self._env)
        return self._backend

    def _start(self) -> None:
        """Look at what should be there, or make it for the network's first container."""
        self._state.lock_shared()
        is_there = self._recall()
        self._watch()
        if is_there and not self._changes_follow and self._is_verified(self._rules):
            self._mode = _VERIFIED
            return
        # Before anything is written: its programs may be missing.
        self._open()
        if not self._remembered:
            if self._state.try_lock_exclusive() and not self._recall() and not self._remembered:
                self._mode = _MAKING
                self._remember(complete=False)
                self._state.hand_down_lock(True)
                try:
                    self._open().start_setup(self._state.versions_of_others(IPTABLES))
                finally:
                    self._state.hand_down_lock(False)
                return
            # While the lock changed hands, another ADD may have passed.
            self._state.lock_shared()
            is_there = self._recall()
        if is_there:
            self._mode = _ENSURING
            self._open().start_ensure()

    def _complete(self) -> None:
        """Complete what was started: after this all rules are there.

        Raises:
            CniError: FIREWALL when they cannot be made.
        """
        if self._mode == _VERIFIED:
            verification = self._verification
            if verification is not None and (verification.still_holds() or self._is_verified(self._rules)):
                return
            # Somebody has changed the rules since `ensure`.
            self._mode = _ENSURING
            self._open().start_ensure()
        # While the programs are at work.
        chains = self._list_chains(self._rules)
        if self._mode == _ENSURING and self._open().finish():
            self._note(self._open(), self._rules, chains, is_locked=True)
            return
        if self._mode == _MAKING:
            if not self._open().finish():
                self._repair()
            self._remember(complete=True)
            self._note(self._open(), self._rules, chains, is_locked=True)
        else:
            self._repair_unless_done()
        self._state.lock_shared()

    def _repair_unless_done(self) -> None:
        """Make the rules, unless another ADD did so while this one waited for its turn."""
        seen = self._remembered.get("stamp")
        self._state.lock_exclusive()
        if self._recall() and self._remembered.get("stamp") != seen:
            return
        former = self._remembered
        names = [name for name in recorded_backends(former) if name != self._backend_name]
        self._remember(complete=False, former=names)
        self._repair()
        # Only now: the network's other containers are never without rules.
        if names:
            from shibafu.bridge.resources.rules_removal import teardown_backends

            teardown_backends(self._state, former, names, self._env)
        self._remember(complete=True)
        self._note(self._open(), self._rules, self._list_chains(self._rules), is_locked=True)

    def _repair(self) -> None:
        self._state.hand_down_lock(True)
        try:
            self._open().repair()
        finally:
            self._state.hand_down_lock(False)

    def _recall(self) -> bool:
        """Return whether all that this container needs was set up, by what is remembered now.

        What the network's other containers need becomes part of what is made sure of.
        """
        self._remembered = self._state.read_rules()
        everything = combine(self._rules, self._remembered)
        if everything.to_record() != self._rules.to_record():
            self._rules = everything
            self._backend = None
        return self._was_made(everything)

    def _was_made(self, rules: NetworkRules) -> bool:
        """Return whether all of these rules were set up, by what was remembered when it was read last."""
        return (
            all(self._remembered.get(key) == value for key, value in rules.to_record().items())
            and bool(self._remembered.get("complete"))
            and recorded_backends(self._remembered) == [self._backend_name]
        )

    def _watch(self) -> None:
        """Notice changes from now on."""
        # Not at the top: STATUS does without.
        from shibafu.netfilter.verification import Verification

        self._close()
        self._verification = Verification(self._state)

    def _is_verified(self, rules: NetworkRules) -> bool:
        """Return whether rules that were made need no look."""
        if self._verification is None or not self._is_trusting:
            return False
        is_same = self._verification.holds(self._calc_subject(rules), lambda: self._list_chains(rules))
        self.is_clear = self._verification.is_clear
        return is_same

    def _note(self, backend: "Backend", rules: NetworkRules, chains: "list[Place]", is_locked: bool) -> None:
        """Leave the hint that rules are right, unless somebody else has changed anything meanwhile."""
        if self._verification is None:
            return
        is_clear = False
        if is_locked and getattr(sys, "shibafu_resident", False):
            # For the CHECKs that follow. A call that starts cold would have to import what looks for that.
            from shibafu.netfilter.drops import has_foreign_bases

            is_clear = not has_foreign_bases(self._backend_name, self._env)
        subject = self._calc_subject(rules)
        self._verification.note(subject, chains, backend.pids, is_locked, is_clear)

    def _calc_subject(self, rules: NetworkRules) -> str:
        """Return what identifies rules that were made, and the backend's programs."""
        stamp = self._remembered.get("stamp")
        versions = list_versions(rules) if self._backend_name == IPTABLES else []
        programs = identify_programs(self._backend_name, versions, self._env)
        if not (isinstance(stamp, int) and programs and CODE):
            return ""
        # What is to be made of a record depends on nothing but the code.
        return "\n".join([str(stamp), programs, CODE, str(rules.to_record())])

    def _list_chains(self, rules: NetworkRules) -> "list[Place]":
        return list(list_chains(rules)) if self._backend_name == IPTABLES else []

    def _close(self) -> None:
        if self._verification is not None:
            self._verification.close()
            self._verification = None

    def _remember(self, complete: bool, former: list[str] | None = None) -> None:
        """Record the intention before the rules are made, and its completion after.

        Args:
            complete: whether they are made.
            former: other backends that the network may have rules of.
        """
        from time import monotonic_ns

        self._remembered = {
            **self._rules.to_record(),
            "backends": [self._backend_name, *(former or [])],
            "complete": complete,
            "stamp": monotonic_ns(),
        }
        self._state.write_rules(self._remembered)
