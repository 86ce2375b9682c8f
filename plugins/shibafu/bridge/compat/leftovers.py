"""Rules that no record tells of, found by their computed names.

Either the reference plugin made them, for a container that it attached, or shibafu did, and /run/shibafu
was emptied since, or a record in it torn.
"""

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import BridgeConfig, is_valid_link_name
from shibafu.cni.errors import CniError
from shibafu.cni.names import NFTABLES, STRICT, is_host_veth
from shibafu.netfilter.backend import choose_backend
from shibafu.netfilter.listing import Listing
from shibafu.netlink.link import link_by_name, link_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.records import NetworkState
from shibafu.resource.teardown import Teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shibafu.netfilter.ruleset import Ruleset


def teardown_leftovers(attachment: Attachment, state: NetworkState, is_known: bool) -> None:
    """Remove what is left after a DEL: lost rules and, for a container unknown here, the reference's.

    Raises:
        CniError: everything that could not be removed.
    """
    config, env = attachment.config, attachment.request.env
    listing = _list_rules(config, env) if config.needs_rules else None
    teardown = Teardown()
    teardown.do(teardown_lost, config, state, env, listing)
    if not is_known:
        teardown.do(_teardown_reference, attachment, listing)
    teardown.finish()


def _teardown_reference(attachment: Attachment, listing: Listing | None) -> None:
    """Remove the rules that the reference made for one container."""
    config, request = attachment.config, attachment.request
    container_id, ifname = request.container_id, request.ifname
    teardown = Teardown()
    if config.ip_masq and listing is not None:
        from shibafu.bridge.compat.reference import teardown_reference_masquerade

        teardown.do(teardown_reference_masquerade, listing, config.network, [container_id])
    if config.mac_spoof_check or _uses_nft(config, request.env):
        from shibafu.bridge.compat.reference_nft import ReferenceTables

        tables = ReferenceTables(request.env)
        if config.mac_spoof_check:
            teardown.do(tables.teardown_spoof_checks, [(container_id, ifname)])
        if config.ip_masq:
            teardown.do(tables.teardown_masquerade, config.network, container_id, ifname)
    teardown.finish()


def teardown_lost(
    config: BridgeConfig, state: NetworkState, env: "Mapping[str, str]", listing: Listing | None = None
) -> None:
    """Remove the rules and tables of a network that has no container, if nothing is remembered of them.

    Containers may be there whose records were lost as well: while the bridge has any, all stays.

    Args:
        config: the network's configuration.
        state: its records.
        env: the environment.
        listing: the jumps of iptables, if they are known already.

    Raises:
        CniError: everything that could not be removed.
    """
    teardown = Teardown()
    if config.needs_rules and not state.read_rules() and not _uses_nft(config, env):
        teardown.do(_teardown_lost_chain, config, state, env, listing or _list_rules(config, env))
    tables = _list_tables(config, state, env)
    if tables:
        teardown.do(_teardown_lost_tables, config, state, env, tables)
    teardown.do(state.remove_if_unused)
    teardown.finish()


def _list_tables(config: BridgeConfig, state: NetworkState, env: "Mapping[str, str]") -> "list[Ruleset]":
    """Return the rulesets of nftables that the configuration asks for, and that nothing is remembered of."""
    rulesets = []
    if not state.read_rules() and _uses_nft(config, env):
        from shibafu.netfilter.network_rulesets import NetworkRules
        from shibafu.netfilter.network_tables import calc_nftables

        rulesets.append(calc_nftables(NetworkRules(config.network, [], [])))
    if config.mac_spoof_check or config.internal:
        from shibafu.netfilter.port_rulesets import calc_internal, calc_spoofcheck

        rulesets += [calc_spoofcheck(config.network, [])] if config.mac_spoof_check else []
        rulesets += [calc_internal(config.network)] if config.internal else []
    return rulesets


def _uses_nft(config: BridgeConfig, env: "Mapping[str, str]") -> bool:
    try:
        return config.needs_rules and choose_backend(config.ip_masq_backend, env) == NFTABLES
    except CniError:
        return False  # the key has been set to a backend that there is none of


def _list_rules(config: BridgeConfig, env: "Mapping[str, str]") -> Listing:
    from shibafu.netfilter.render_iptables import render_list

    return Listing(env, render_list(_calc_remains(config)))


def _calc_remains(config: BridgeConfig) -> "Ruleset":
    """Return the chains of iptables that may be there of a network."""
    from shibafu.netfilter.network_rulesets import calc_iptables_remains

    return calc_iptables_remains(config.network, was_strict=config.isolate == STRICT)


def _teardown_lost_chain(
    config: BridgeConfig, state: NetworkState, env: "Mapping[str, str]", listing: Listing
) -> None:
    ruleset = _calc_remains(config)
    names = {chain.name for chain in ruleset.chains}

    def has_jumps(current: Listing, version: int) -> bool:
        return any(current.jumps(version, name) for name in names)

    if not any(has_jumps(listing, version) for version in listing.lines):
        return
    from shibafu.netfilter.render_iptables import render_removal, render_shared_teardown

    def remove() -> None:
        # Again, now that the lock is held: an ADD at the same moment may have been making these rules, table
        # by table, and have taken them back.
        current = _list_rules(config, env)
        for version, lines in current.lines.items():
            if has_jumps(current, version):
                current.run(version, render_removal(ruleset, "\n".join(lines)))
                current.attempt(version, render_shared_teardown(ruleset.shared))

    _do_if_unused(config, state, remove)


def _teardown_lost_tables(
    config: BridgeConfig, state: NetworkState, env: "Mapping[str, str]", rulesets: "list[Ruleset]"
) -> None:
    """Remove tables of nftables."""
    from shibafu.netfilter.nftables import Nftables

    for ruleset in rulesets:
        backend = Nftables(ruleset, env)
        if backend.read().text:
            _do_if_unused(config, state, backend.teardown)


def _do_if_unused(config: BridgeConfig, state: NetworkState, remove: "Callable[[], object]") -> None:
    state.lock_exclusive()
    try:
        if not state.is_in_use() and not _has_containers(config.bridge):
            remove()
    finally:
        state.unlock()


def _has_containers(bridge_name: str) -> bool:
    """Tell whether a container that shibafu may have attached is on the bridge."""
    if not is_valid_link_name(bridge_name):
        return False
    with NetlinkSocket() as sock:
        bridge = link_by_name(sock, bridge_name)
        ports = link_list(sock, master=bridge.index) if bridge is not None else []
    # The other end of a gateway's link in a VLAN is in the host's own namespace.
    return any(is_host_veth(port.name) and port.link_netnsid >= 0 for port in ports)
