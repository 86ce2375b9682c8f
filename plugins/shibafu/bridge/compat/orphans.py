"""Rules without a record, found by their computed names.

Shibafu made them, and /run/shibafu was emptied since, or a record in it torn.
"""

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.resources.occupancy import is_in_use
from shibafu.cni.errors import CniError
from shibafu.cni.names import NFTABLES, STRICT, calc_strict_chain
from shibafu.netfilter.backend import choose_backend
from shibafu.netfilter.listing import Listing
from shibafu.netfilter.network_rulesets import calc_iptables_remains
from shibafu.netfilter.render_iptables import render_list
from shibafu.resource.base import NETWORK, Resource
from shibafu.resource.records import NetworkState
from shibafu.resource.teardown import Teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shibafu.netfilter.ruleset import Ruleset


class OrphanedRules(Resource):
    """The rules and tables of a network that has no container, if they have no record.

    Containers may be there whose records were lost as well: while the bridge has any, all stays.

    Args:
        config: the network's configuration.
        state: its records.
        env: the environment.
        listing: what iptables lists of the network; None to have it listed.
    """

    __slots__ = ("_config", "_env", "_listing", "_ruleset", "_state")
    scope = NETWORK

    def __init__(
        self,
        config: BridgeConfig,
        state: NetworkState,
        env: "Mapping[str, str]",
        listing: Listing | None = None,
    ) -> None:
        self._config = config
        self._state = state
        self._env = env
        self._listing = listing

    def remove(self) -> None:
        """See `Resource.remove`.

        Raises:
            CniError: everything that could not be removed.
        """
        config, state = self._config, self._state
        if state.attachments():
            return
        teardown = Teardown()
        if config.needs_rules and not state.read_rules() and not uses_nft(config, self._env):
            teardown.do(self._remove_chains)
        for ruleset in self._list_tables():
            teardown.do(self._remove_table, ruleset)
        teardown.do(state.remove_if_unused)
        teardown.finish()

    def _remove_chains(self) -> None:
        """Remove chains of iptables."""
        network = self._config.network
        listing = self._listing or list_orphaned_rules(self._config, self._env)
        strict = calc_strict_chain(network)
        names = {chain.name for chain in calc_iptables_remains(network, was_strict=True).chains}

        def has_jumps(current: Listing, version: int) -> bool:
            return any(current.jumps(version, name) for name in names)

        if not any(has_jumps(listing, version) for version in listing.lines):
            return
        from shibafu.netfilter.render_iptables import render_removal, render_shared_teardown

        def remove() -> None:
            # Again, now that the lock is held: an ADD at the same moment may have been making these rules,
            # table by table, and have taken them back.
            current = list_orphaned_rules(self._config, self._env)
            for version, lines in current.lines.items():
                if has_jumps(current, version):
                    # Whatever it is now; and a kernel may lack that table.
                    was_strict = self._config.isolate == STRICT or bool(current.jumps(version, strict))
                    ruleset = calc_iptables_remains(network, was_strict)
                    current.run(version, render_removal(ruleset, "\n".join(lines)))
                    current.attempt(version, render_shared_teardown(ruleset.shared))

        self._do_if_unused(remove)

    def _list_tables(self) -> "list[Ruleset]":
        """Return the rulesets of nftables that the configuration asks for, and nothing is remembered of."""
        config, rulesets = self._config, []
        if not self._state.read_rules() and uses_nft(config, self._env):
            from shibafu.netfilter.network_rulesets import NetworkRules
            from shibafu.netfilter.network_tables import calc_nftables

            rulesets.append(calc_nftables(NetworkRules(config.network, [], [])))
        if config.mac_spoof_check or config.internal:
            from shibafu.netfilter.port_rulesets import calc_internal, calc_spoofcheck

            rulesets += [calc_spoofcheck(config.network, [])] if config.mac_spoof_check else []
            rulesets += [calc_internal(config.network)] if config.internal else []
        return rulesets

    def _remove_table(self, ruleset: "Ruleset") -> None:
        """Remove a table of nftables."""
        from shibafu.netfilter.nftables import Nftables

        backend = Nftables(ruleset, self._env)
        if backend.read().text:
            self._do_if_unused(backend.teardown)

    def _do_if_unused(self, remove: "Callable[[], object]") -> None:
        self._state.lock_exclusive()
        try:
            if not is_in_use(self._state, self._config.bridge):
                remove()
        finally:
            self._state.unlock()


def uses_nft(config: BridgeConfig, env: "Mapping[str, str]") -> bool:
    """Return whether a network has rules of nftables."""
    try:
        return config.needs_rules and choose_backend(config.ip_masq_backend, env) == NFTABLES
    except CniError:
        return False  # the key has been set to a backend that there is none of


def list_orphaned_rules(config: BridgeConfig, env: "Mapping[str, str]") -> Listing:
    """Return what iptables lists of a network's chains, and of what leads to any chain."""
    return Listing(env, render_list(calc_iptables_remains(config.network, was_strict=True)))
