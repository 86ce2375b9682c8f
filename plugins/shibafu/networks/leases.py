"""The addresses of a network: release and reserve them, and give lost ones back to their containers."""

from shibafu.bridge.resources.lease import AddressLease
from shibafu.cni.errors import CHECK_FAILED, CniError
from shibafu.lean.ip import Address, Cidr
from shibafu.networks.configured import ConfiguredNetwork
from shibafu.networks.errors import CommandError
from shibafu.resource.base import FILES, Fault, Resource
from shibafu.resource.view import View
from shibafu_ipam.pool import RESERVED, Pool, PoolLease
from shibafu_ipam.ranges import Range


def open_pool(network: ConfiguredNetwork) -> Pool:
    """Return the addresses of a network."""
    return Pool(network.data_dir, network.name)


def count_usable(one: Range) -> int:
    """Return how many addresses a range can give out: all except its gateway and reserved ones."""
    return one.last - one.first + 1 - len(one.holes)


def release_address(network: ConfiguredNetwork, address: Address, force: bool) -> PoolLease | None:
    """Release an address; return its owner, or None if it was free.

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
                f"{address} belongs to container {lease.container_id}, which may still be using it",
                f"disconnect it: shibafu network disconnect {network.name} {lease.container_id}; "
                "or release the address anyway with --force",
            )
        pool.release(address)
    return lease


def release_container(network: ConfiguredNetwork, container_id: str, force: bool) -> list[PoolLease]:
    """Release all addresses of a container; see `release_address`."""
    leases = [lease for lease in open_pool(network).list() if lease.container_id == container_id]
    released = [release_address(network, lease.address, force) for lease in leases]
    return [lease for lease in released if lease is not None]


def list_overlay_stores(networks: list[ConfiguredNetwork], subnet_file: str) -> list[str]:
    """Return the directories of leases of an overlay's host; see `list_overlay_leases`."""
    return [
        f"{network.data_dir}/{network.name}"
        for network in networks
        if network.overlay is not None and network.overlay.subnet_file == subnet_file
    ]


def list_overlay_leases(
    networks: list[ConfiguredNetwork], subnet_file: str, subnets: list[Cidr]
) -> list[PoolLease]:
    """Return the addresses of an overlay's host that containers have.

    Args:
        networks: all of this host.
        subnet_file: the overlay's; of other networks nothing is returned.
        subnets: those of the host.

    Raises:
        CniError: the leases are locked.
    """
    return [
        lease
        for network in networks
        if network.overlay is not None and network.overlay.subnet_file == subnet_file
        for lease in open_pool(network).list()
        if not (lease.is_reserved or lease.is_abandoned)
        and any(subnet.contains(lease.address) for subnet in subnets)
    ]


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
            f"its ranges are: {ranges}; there is nothing to reserve",
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
                f"see: shibafu ipam ls {network.name}; `shibafu ipam release` releases it",
            )
        if not pool.take(address, RESERVED, label):
            raise CommandError(f"{address} has just been given to a container", "choose another address")
    return True


class OwnLease(Resource):
    """A `AddressLease` that the pool can restore while no other container has the addresses.

    Args:
        lease: what asks the IPAM plugin.
        network: the network.
        owner: the container and its interface.
        netns: the path of its namespace.
        addresses: what it was given, without what other plugins gave.
    """

    medium = FILES

    def __init__(
        self,
        lease: AddressLease,
        network: ConfiguredNetwork,
        owner: tuple[str, str],
        netns: str,
        addresses: list[Address],
    ) -> None:
        self._lease = lease
        self._pool = open_pool(network)
        self._owner = owner
        self._netns = netns
        self._addresses = addresses

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return self._lease.title

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return self._lease.describe()

    def faults(self, view: View) -> list[Fault]:
        """See `Resource.faults`.

        Raises:
            CniError: the plugin cannot be asked, or says something else than that an address is gone.
        """
        try:
            return self._lease.faults(view)
        except CniError as error:
            if error.code != CHECK_FAILED:
                raise
            leases = {lease.address: lease for lease in self._pool.list()}
            found = [leases.get(address) for address in self._addresses]
            others = [lease for lease in found if lease is not None and lease.owner != self._owner]
            # That of a file that cannot be read has no container.
            named = [lease for lease in others if lease.container_id]
            advice = self._advise(named[0]) if named else error.details
            # One is lost, and nobody else has one of these.
            return [Fault(error.msg, advice, is_mendable=None in found and not others)]

    def ensure(self, view: View) -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: the leases are locked.
        """
        with self._pool as pool:
            for address in self._addresses:
                pool.take(address, *self._owner, self._netns)
        return False

    def remove(self) -> None:
        """See `Resource.remove`."""
        self._lease.remove()

    def _advise(self, other: PoolLease) -> str:
        """Return what to do about an address that is somebody else's."""
        use = "reserved" if other.is_reserved else f"leased to container {other.container_id}"
        return f"{other.address} is now {use}: disconnect container {self._owner[0]} and connect it again"
