"""Which rules a network needs on this host, for which of its containers, and what makes them."""

from shibafu.bridge.config import BridgeConfig
from shibafu.cni.names import IPTABLES
from shibafu.lean.ip import Cidr
from shibafu.lean.subprocess import find_program
from shibafu.netfilter.backend import choose_backend
from shibafu.netfilter.forwarding import bridged_versions, routes_loopback
from shibafu.netfilter.network_rulesets import NetworkRules
from shibafu.resource.records import NetworkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def find_needs(
    config: BridgeConfig,
    subnets: list[Cidr],
    env: "Mapping[str, str]",
    state: NetworkState,
    is_bridged: bool = False,
    is_rerouted: bool = False,
) -> tuple[str, NetworkRules] | None:
    """Return the backend and the rules that containers need on this host; None if they need none.

    Args:
        config: the network's configuration.
        subnets: the containers'.
        env: the environment.
        state: the network's records; the rules that it has are kept, whatever the configuration asks for.
        is_bridged: whether FORWARD is about to see what stays on the bridge, if it does not yet.
        is_rerouted: whether it is since the host is about to route that.

    Raises:
        CniError: the backend is unknown.
    """
    backend = choose_backend(config.ip_masq_backend, env)
    bridged: set[int] = set()
    # What nftables accepts in a table of our own does not overrule another table's drop.
    if backend == IPTABLES and not config.ip_masq and (is_rerouted or not config.vlan):
        versions = {subnet.version for subnet in subnets}
        bridged = versions if is_bridged else set(bridged_versions(config.bridge, versions))
    # With a port published, containers would reach the host's 127.0.0.1.
    is_wanted = config.needs_rules or bool(state.read_rules()) or routes_loopback(config.gateway_link)
    # Without iptables there is most likely none that drops what stays on the bridge, either.
    if not is_wanted and not (bridged and find_program("iptables-restore", env.get("PATH", ""))):
        return None
    needs = config.network, [config.gateway_link], subnets, config.ip_masq, config.isolate
    peers = config.non_masqueraded
    return backend, NetworkRules(*needs, bridged=bridged, peers=peers, is_rerouted=is_rerouted)
