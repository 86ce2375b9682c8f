"""What containers have left behind whose namespaces are gone, and how it is freed."""

from dataclasses import dataclass

from shibafu.cni.errors import INVALID_CONFIG, IO_FAILURE, CniError, attempt
from shibafu.cni.names import calc_host_veth
from shibafu.networks.attachments import Caller
from shibafu.networks.configured import ConfiguredNetwork
from shibafu.networks.inspect import GONE, Endpoint, find_broken_records
from shibafu.networks.leases import open_pool
from shibafu.resource.records import NetworkState
from shibafu_ipam.pool import PoolLease


@dataclass(frozen=True)
class Garbage:
    """What a network's containers have left behind.

    Args:
        endpoints: the containers that are gone.
        leases: those of containers that are gone and of which nothing else is known.
        unknown: those of containers of which nothing else is known, and which may still be there.
    """

    endpoints: list[Endpoint]
    leases: list[PoolLease]
    unknown: list[PoolLease]


def collect_garbage(
    network: ConfiguredNetwork, caller: Caller, dry_run: bool, errors: list[CniError]
) -> Garbage:
    """Free what containers whose namespaces are gone left behind; return what was freed.

    What is unknown here may belong to a container of another runtime: it stays.

    Args:
        network: the network.
        caller: calls plugins.
        dry_run: whether to change nothing, and return what would be freed.
        errors: takes what failed, none of which keeps the rest from being done.
    """
    endpoints = caller.find_endpoints(network)
    gone = [endpoint for endpoint in endpoints if endpoint.state == GONE]
    # Where the leases of an invalid configuration are is not known, nor whose they are.
    leases = [] if network.problem else _find_leases_alone(network, endpoints)
    abandoned = [lease for lease in leases if lease.is_abandoned]
    unknown = [lease for lease in leases if not lease.is_abandoned]
    if dry_run:
        return Garbage(gone, abandoned, unknown)
    freed = [endpoint for endpoint in gone if attempt(errors, caller.detach, network, endpoint)]
    living = {endpoint.key for endpoint in endpoints if endpoint.state != GONE}
    if network.problem:
        # The plugins' GC would free leases of strangers.
        what = f"its configuration is invalid: {network.problem}"
        errors.append(CniError(INVALID_CONFIG, what, network.config.path))
    else:
        _call_gc(network, caller, living, errors)
    left = {lease.address for lease in open_pool(network).list()} if abandoned else set()
    return Garbage(freed, [lease for lease in abandoned if lease.address not in left], unknown)


def _find_leases_alone(network: ConfiguredNetwork, endpoints: list[Endpoint]) -> list[PoolLease]:
    """Return the leases of containers of which there is neither a record nor a cached result."""
    known = {endpoint.key for endpoint in endpoints}
    leases = open_pool(network).list()
    return [lease for lease in leases if not lease.is_reserved and lease.owner not in known]


def _call_gc(
    network: ConfiguredNetwork, caller: Caller, living: set[tuple[str, str]], errors: list[CniError]
) -> None:
    """Have the plugins free whatever is neither a living container's nor may be one's."""
    leases = [lease for lease in open_pool(network).list(errors) if not lease.is_abandoned]
    valid = living | {lease.owner for lease in leases if lease.container_id}
    broken = _find_unknown_links(network, caller, valid)
    if broken:
        # What is not listed, the plugins' GC removes.
        errors += broken
        return
    attempt(errors, caller.runtime.gc, network.config, valid)
    errors += find_broken_records(network.name)


def _find_unknown_links(
    network: ConfiguredNetwork, caller: Caller, valid: set[tuple[str, str]]
) -> list[CniError]:
    """Return what is wrong with records that do not identify the owner of an existing link."""
    known = {calc_host_veth(network.name, *owner) for owner in valid}
    state = NetworkState(network.name)
    unknown = [link for link in state.attachments() if state.read_attachment(link).owner is None]
    links = caller.kernel.links()
    return [
        CniError(
            IO_FAILURE,
            f"{state.directory}/{link} names no container, but its link may belong to a running one",
            f"nothing else of network {network.name} is freed; if nobody needs it: ip link del {link}",
        )
        for link in unknown
        if link in links and link not in known
    ]
