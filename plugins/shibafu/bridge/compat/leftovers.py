"""Rules that no record tells of, found by their computed names.

Either the reference plugin made them, for a container that it attached, or shibafu did, and /run/shibafu
was emptied since, or a record in it torn.
"""

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.config import BridgeConfig, is_valid_link_name
from shibafu.cni.errors import CniError
from shibafu.cni.names import calc_chain, is_host_veth
from shibafu.netfilter.backend import NFTABLES, choose_backend
from shibafu.netfilter.listing import Listing
from shibafu.netlink.link import link_by_name, link_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.records import NetworkState
from shibafu.resource.teardown import Teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def teardown_leftovers(attachment: Attachment, state: NetworkState, is_known: bool) -> None:
    """Remove what is left after a DEL: lost rules and, for a container unknown here, the reference's.

    Raises:
        CniError: everything that could not be removed.
    """
    config, env = attachment.config, attachment.request.env
    listing = Listing(env) if config.needs_rules else None
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
    if config.needs_rules and not state.read_rules():
        if _uses_nft(config, env):
            teardown.do(_teardown_lost_table, config, state, env)
        else:
            teardown.do(_teardown_lost_chain, config, state, env, listing or Listing(env))
    if config.mac_spoof_check:
        teardown.do(_teardown_lost_guard, config, state, env)
    if config.internal:
        teardown.do(_teardown_lost_barrier, config, state, env)
    teardown.do(state.remove_if_unused)
    teardown.finish()


def _uses_nft(config: BridgeConfig, env: "Mapping[str, str]") -> bool:
    try:
        return config.needs_rules and choose_backend(config.ip_masq_backend, env) == NFTABLES
    except CniError:
        return False  # the key has been set to a backend that there is none of


def _teardown_lost_chain(
    config: BridgeConfig, state: NetworkState, env: "Mapping[str, str]", listing: Listing
) -> None:
    chain = calc_chain(config.network)
    if not any(listing.jumps(version, chain) for version in listing.lines):
        return
    from shibafu.netfilter.iptables import calc_admin_teardown, calc_teardown
    from shibafu.netfilter.rules import NetworkRules

    rules = NetworkRules(config.network, [], [])

    def remove() -> None:
        # Again, now that the lock is held: an ADD at the same moment may have been making these rules, table
        # by table, and have taken them back.
        current = Listing(env)
        for version, lines in current.lines.items():
            if current.jumps(version, chain):
                current.run(version, calc_teardown(rules, version, "\n".join(lines)))
                current.attempt(version, calc_admin_teardown())

    _do_if_unused(config, state, remove)


def _teardown_lost_table(config: BridgeConfig, state: NetworkState, env: "Mapping[str, str]") -> None:
    from shibafu.netfilter.nftables import Nft, calc_table, calc_teardown
    from shibafu.netfilter.rules import NetworkRules

    nft, table = Nft(env), calc_table(NetworkRules(config.network, [], []))
    if nft.list_table(table):
        _do_if_unused(config, state, lambda: nft.run(calc_teardown(table)))


def _teardown_lost_guard(config: BridgeConfig, state: NetworkState, env: "Mapping[str, str]") -> None:
    from shibafu.netfilter.spoofing import SpoofGuard

    guard = SpoofGuard(config.network, env)
    if guard.is_there():
        _do_if_unused(config, state, guard.teardown)


def _teardown_lost_barrier(config: BridgeConfig, state: NetworkState, env: "Mapping[str, str]") -> None:
    from shibafu.netfilter.barrier import Barrier

    barrier = Barrier(config.network, env)
    if barrier.is_there():
        _do_if_unused(config, state, barrier.teardown)


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
