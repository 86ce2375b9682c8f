"""What people do with the addresses of a network: release them, and reserve them."""

from shibafu.cni.ip import Address
from shibafu.networks.configured import ConfiguredNetwork
from shibafu.networks.errors import CommandError
from shibafu_ipam.pool import RESERVED, Pool, PoolLease
from shibafu_ipam.ranges import Range


def open_pool(network: ConfiguredNetwork) -> Pool:
    """Return the addresses of a network."""
    return Pool(network.data_dir, network.name)


def count_usable(one: Range) -> int:
    """Return how many addresses a range can give out: all but its gateway and the like."""
    return one.last - one.first + 1 - len(one.holes)


def release_address(network: ConfiguredNetwork, address: Address, force: bool) -> PoolLease | None:
    """Take an address back; return who had it, None for nobody.

    Args:
        network: the network.
        address: the address.
        force: whether to do so even if the container is still there.

    Raises:
        CommandError: the container is, or may be, still there.
        CniError: the leases are locked.
    """
    with open_pool(network) as pool:
        lease = pool.owner(address)
        if lease is not None and not (force or lease.is_reserved or lease.is_abandoned):
            raise CommandError(
                f"{address} belongs to container {lease.container_id}, which may still use it",
                f"disconnect it: shibafu network disconnect {network.name} {lease.container_id}; "
                "or release the address all the same: --force",
            )
        pool.release(address)
    return lease


def release_container(network: ConfiguredNetwork, container_id: str, force: bool) -> list[PoolLease]:
    """Take back all addresses of a container; see `release_address`."""
    leases = [lease for lease in open_pool(network).list() if lease.container_id == container_id]
    released = [release_address(network, lease.address, force) for lease in leases]
    return [lease for lease in released if lease is not None]


def reserve_address(network: ConfiguredNetwork, address: Address, label: str) -> bool:
    """Keep an address from all containers; return False when it is reserved already.

    Args:
        network: the network.
        address: the address.
        label: what it is reserved for, a word.

    Raises:
        CommandError: a container has it, or the network does not give it out.
        CniError: the leases are locked.
    """
    one = next((s.range_of(address) for s in network.range_sets if s.range_of(address) is not None), None)
    if one is None:
        ranges = ", ".join(str(range_set) for range_set in network.range_sets) or "none"
        raise CommandError(
            f"network {network.name} does not give out {address}",
            f"its ranges are: {ranges}; nothing to reserve",
        )
    kind = one.name_hole(address)
    if kind:
        raise CommandError(f"{address} is {kind} of network {network.name}", "it is never given out")
    with open_pool(network) as pool:
        lease = pool.owner(address)
        if lease is not None and lease.is_reserved:
            return False
        if lease is not None:
            raise CommandError(
                f"{address} belongs to container {lease.container_id}",
                f"see: shibafu ipam ls {network.name}; `shibafu ipam release` takes it back",
            )
        if not pool.take(address, RESERVED, label):
            raise CommandError(f"{address} has just been given to a container", "choose another address")
    return True
