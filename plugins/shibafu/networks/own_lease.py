"""A container's addresses in a store of host-local's kind, which `repair` gives back to it."""

from shibafu.bridge.resources.lease import Lease
from shibafu.cni.errors import CHECK_FAILED, CniError
from shibafu.cni.ip import Address
from shibafu.networks.configured import ConfiguredNetwork
from shibafu.networks.leases import open_pool
from shibafu.resource.base import Fault, Resource
from shibafu.resource.view import View
from shibafu_ipam.pool import PoolLease


class OwnLease(Resource):
    """A `Lease` that the pool can restore while nobody else has the addresses.

    Args:
        lease: what asks the IPAM plugin.
        network: the network.
        owner: the container and its interface.
        netns: the path of its namespace.
        addresses: what it was given, without what other plugins gave.
    """

    def __init__(
        self,
        lease: Lease,
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
        holding = "reserved" if other.is_reserved else f"leased to container {other.container_id}"
        return (
            f"{other.address} is {holding} by now: disconnect container {self._owner[0]} and connect it again"
        )
