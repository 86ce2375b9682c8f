"""Making and removing networks: configuration files, and what containers have left behind them."""

import json
import os
import shutil
from typing import Any

from shibafu.bridge.compat.orphans import OrphanedRules
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.keepalived import remove_configuration
from shibafu.bridge.resources.active_uplink import forget_uplink, lock_uplinks, recall_uplinks
from shibafu.bridge.resources.moved_addresses import give_back, list_stranded
from shibafu.bridge.resources.occupancy import find_lost_ports
from shibafu.bridge.resources.rules_removal import teardown_if_unused
from shibafu.bridge.resources.uplink_bond import dissolve_bond
from shibafu.cni.directories import make_directory, secure_given_directory
from shibafu.cni.errors import CniError, attempt, merge_errors
from shibafu.cni.lock import Lock
from shibafu.cni.names import calc_host_veth
from shibafu.container.specification import HOST_NETWORK, NO_NETWORK
from shibafu.lean.files import open_file
from shibafu.netlink.socket import NetlinkSocket
from shibafu.networks.attachments import Caller
from shibafu.networks.configured import ConfiguredNetwork, load_networks, unknown_network
from shibafu.networks.errors import CommandError
from shibafu.networks.inspect import GONE, STRAY, Endpoint
from shibafu.networks.kernel import Kernel, open_kernel
from shibafu.networks.leases import open_pool
from shibafu.networks.resolve import PartialSpec, Resolver
from shibafu.networks.spec import DEFAULT_NETWORK, NetworkSpec, calc_conflist
from shibafu.networks.text import format_count
from shibafu.resource.records import NetworkState
from shibafu.runtime.conflist import ConflistError

# The bridge of the network `bridge`, which everybody has who names no other.
DEFAULT_BRIDGE = "shibafu0"


def lock_configuration() -> Lock:
    """Return the lock to hold while choosing subnets or writing configuration files."""
    return Lock("configuration", "the configuration of networks")


def create_network(directory: str, spec: NetworkSpec) -> str:
    """Write a network's configuration file and return its path.

    Raises:
        CommandError: there is a file of that name, whatever is in it.
    """
    path = require_free_path(directory, spec.name)
    aside = _write_aside(directory, spec)
    try:
        # Unlike rename(2), link(2) replaces nothing.
        os.link(aside, path)
    except FileExistsError:
        raise _is_there(path) from None
    finally:
        os.unlink(aside)
    return path


def require_free_path(directory: str, name: str) -> str:
    """Return the path of a network's configuration file that is yet to be written.

    Raises:
        CommandError: there is a file of that name, whatever is in it.
    """
    path = f"{directory}/{name}.conflist"
    if os.path.lexists(path):
        raise _is_there(path)
    return path


def _is_there(path: str) -> CommandError:
    return CommandError(f"{path} already exists", "remove it, or choose another name")


def update_network(path: str, spec: NetworkSpec) -> None:
    """Write another configuration into a network's file, wholly or not at all.

    A gateway that other hosts do not share any more is not left to keepalived, either.
    """
    os.rename(_write_aside(os.path.dirname(path), spec), path)
    if "gatewayHA" not in spec.options:
        remove_configuration(spec.name)


def _write_aside(directory: str, spec: NetworkSpec) -> str:
    # A user who can write there has root call plugins of his choice.
    secure_given_directory(os.path.dirname(directory))
    secure_given_directory(directory)
    make_directory(directory, 0o755)
    # Runtimes look at *.conflist, *.conf and *.json only.
    aside = f"{directory}/.{spec.name}.new"
    with open(aside, "w", encoding="utf-8", opener=open_file) as file:
        file.write(json.dumps(calc_conflist(spec), indent=4) + "\n")
        file.flush()
        # Users of a network may know what it is; nobody else may write it, not even for a moment.
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    return aside


def remove_network(
    network: ConfiguredNetwork, others: list[ConfiguredNetwork], caller: Caller, force: bool
) -> list[str]:
    """Remove a network with its bridge, its rules and its leases; return what was removed.

    Args:
        network: the network.
        others: the machine's other networks, one of which may use the same bridge.
        caller: calls plugins.
        force: whether to disconnect containers that are still there.

    Raises:
        CommandError: it has containers, its bridge has ports that may be of some, or the host would lose
            addresses that the bridge has of an uplink.
        CniError: some cannot be disconnected; the others are, and the network stays.
    """
    endpoints = caller.find_endpoints(network)
    lost = _find_lost_ports(network, others, caller)
    if not force:
        _require_removable(network, endpoints, lost, _find_stranded(network, others, caller.kernel))
    done = []
    errors: list[CniError] = []
    for endpoint in endpoints + _find_lost_endpoints(network, lost):
        if attempt(errors, caller.detach, network, endpoint):
            done.append(f"container {endpoint.container_id} disconnected from {endpoint.ifname}")
    if errors:
        raise merge_errors(errors)
    done += _remove_ports(network, others, caller)
    state = NetworkState(network.name)
    teardown_if_unused(state, os.environ, None)
    if network.bridge is not None:
        OrphanedRules(network.bridge, state, os.environ).remove()
    state.remove_if_unused()
    shared = remove_configuration(network.name)
    done += [shared] if shared else []
    done += remove_bridge(network, others, caller.kernel)
    done += _remove_leases(network)
    os.unlink(network.config.path)
    return [*done, network.config.path]


def _require_removable(
    network: ConfiguredNetwork,
    endpoints: list[Endpoint],
    lost: list[str],
    stranded: list[tuple[str, list[str]]],
) -> None:
    """Refuse what needs `--force`, all of it at once: that overrides every reason."""
    reasons = []
    names = sorted({endpoint.container_id for endpoint in endpoints if endpoint.state != GONE})
    if names:
        what = f"network {network.name} has {format_count(len(names), 'container')}: {', '.join(names)}"
        reasons.append((what, "disconnect them first (shibafu network disconnect), or use --force"))
    if lost:
        ports = f"{format_count(len(lost), 'port')} of containers without a record: {', '.join(lost)}"
        what = f"the bridge of network {network.name} has {ports}"
        reasons.append((what, "stop these containers, or remove their ports with --force"))
    for link, addresses in stranded:
        what = f"uplink {link} is gone, which had {', '.join(addresses)}: the host would lose its addresses"
        reasons.append((what, f"connect {link}, or give them to another link and use --force"))
    if reasons:
        raise CommandError("; ".join(what for what, _ in reasons), "; ".join(hint for _, hint in reasons))


def _find_lost_ports(
    network: ConfiguredNetwork, others: list[ConfiguredNetwork], caller: Caller
) -> list[str]:
    """Return the ports of containers that have neither a record nor a cached result."""
    if network.bridge is None:
        return []
    lost = find_lost_ports(NetworkState(network.name), network.bridge.bridge)
    if not lost:
        return []
    known = {endpoint.host_link for one in (network, *others) for endpoint in caller.find_endpoints(one)}
    return sorted(set(lost) - known)


def _find_stranded(
    network: ConfiguredNetwork, others: list[ConfiguredNetwork], kernel: Kernel
) -> list[tuple[str, list[str]]]:
    """Return which uplinks cannot get back what they had when the bridge goes; see `list_stranded`."""
    if network.bridge is None or _is_shared(network.bridge, others):
        return []
    bridge = kernel.links().get(network.bridge.bridge)
    # Somebody who has deleted it has deleted the addresses, too.
    if bridge is None or bridge.kind != "bridge":
        return []
    with NetlinkSocket() as sock:
        return list_stranded(sock, bridge.name, bridge.index)


def _find_lost_endpoints(network: ConfiguredNetwork, ports: list[str]) -> list[Endpoint]:
    """Return the containers that have ports according to their leases."""
    owners = {lease.owner for lease in open_pool(network).list() if all(lease.owner)} if ports else set()
    links = {owner: calc_host_veth(network.name, *owner) for owner in sorted(owners)}
    return [Endpoint(*o, "", link, "", [], STRAY, None, []) for o, link in links.items() if link in ports]


def _remove_ports(network: ConfiguredNetwork, others: list[ConfiguredNetwork], caller: Caller) -> list[str]:
    """Remove the ports without a known owner, unless they may be another network's."""
    if network.bridge is None or _is_shared(network.bridge, others):
        return []
    ports = _find_lost_ports(network, others, caller)
    links = caller.kernel.links()
    for port in ports:
        caller.kernel.remove_link(links[port])
    return [f"port {port}" for port in ports]


def _is_shared(bridge: BridgeConfig, others: list[ConfiguredNetwork]) -> bool:
    return any(other.bridge is not None and other.bridge.bridge == bridge.bridge for other in others)


def remove_bridge(network: ConfiguredNetwork, others: list[ConfiguredNetwork], kernel: Kernel) -> list[str]:
    """Remove a network's bridge, unless another network uses it or it has ports; return what was removed."""
    config = network.bridge
    if config is None or _is_shared(config, others):
        return []
    links = kernel.links()
    bridge = links.get(config.bridge)
    if bridge is None or bridge.kind != "bridge":
        _give_back(config.bridge, 0)
        return _remove_bond(config.bridge)
    gateway = links.get(config.gateway_link)
    if gateway is not None and gateway.index != bridge.index:
        kernel.remove_link(gateway)
        links = kernel.links()
    own = config.uplinks.links if config.uplinks is not None else ()
    # Its uplinks may have been others when one became a port.
    active = recall_uplinks(bridge.name, bridge.index)
    ports = [link for link in links.values() if link.master == bridge.index]
    if any(link.name not in own and link.index not in active for link in ports):
        return []  # somebody put a link of his own into it
    _give_back(bridge.name, bridge.index)
    kernel.remove_link(bridge)
    forget_uplink(bridge.name)
    return [f"bridge {bridge.name}", *_remove_bond(config.bridge)]


def _give_back(bridge: str, index: int) -> None:
    """Give uplinks of a bridge back the addresses that they had; see `give_back`."""
    with NetlinkSocket() as sock, lock_uplinks(bridge):
        give_back(sock, bridge, index)


def _remove_bond(bridge: str) -> list[str]:
    """Remove the bond of a bridge's uplinks, which leaves these to nobody; return what was removed."""
    with NetlinkSocket() as sock:
        name = dissolve_bond(sock, bridge)
    return [f"bond {name}"] if name else []


def _remove_leases(network: ConfiguredNetwork) -> list[str]:
    """Remove the network's store, unless somebody has an address of it of whom nothing is known."""
    pool = open_pool(network)
    if not network.range_sets or not os.path.isdir(pool.directory):
        return []
    with pool:
        if not all(lease.is_reserved or lease.is_abandoned for lease in pool.list()):
            return []
    shutil.rmtree(pool.directory)
    shutil.rmtree(pool.index_directory, ignore_errors=True)
    return [f"leases in {pool.directory}"]


def describe(spec: NetworkSpec) -> dict[str, Any]:
    """Return a network for programs."""
    return {
        "name": spec.name,
        "bridge": spec.bridge,
        "subnets": [str(subnet.network) for subnet in spec.subnets],
        "config": calc_conflist(spec),
    }


def ensure_networks(conf_dir: str, names: list[str]) -> list[str]:
    """See that networks exist, and make the default one if it is among them and does not; return warnings.

    Raises:
        CommandError: one of the networks does not exist, or the default one collides with something.
    """
    if set(names) <= {NO_NETWORK, HOST_NETWORK}:
        return []
    broken: list[ConflistError] = []
    known = {network.name for network in load_networks(conf_dir, [], broken)}
    warnings: list[str] = []
    for name in names:
        if name == DEFAULT_NETWORK and name not in known:
            warnings += _create_default_network(conf_dir)
        elif name not in known:
            raise unknown_network(name, conf_dir, sorted(known), broken)
    return warnings


def _create_default_network(conf_dir: str) -> list[str]:
    partial = PartialSpec(DEFAULT_NETWORK, bridge=DEFAULT_BRIDGE)
    with lock_configuration(), open_kernel() as kernel:
        networks = load_networks(conf_dir, [], [])
        # Another call may have been first.
        if DEFAULT_NETWORK in {network.name for network in networks}:
            return []
        resolver = Resolver(kernel, networks)
        try:
            create_network(conf_dir, resolver.resolve(partial))
        except CommandError as error:
            raise CommandError(
                f"cannot create the network {DEFAULT_NETWORK}: {error.message}",
                f"create it yourself: shibafu network create {DEFAULT_NETWORK} --subnet CIDR --bridge NAME",
            ) from None
    return resolver.warnings
