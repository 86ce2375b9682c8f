"""A container's addresses in a store of host-local's kind, which `repair` gives back to it."""

from shibafu.bridge.resources.lease import Lease
from shibafu.cni.errors import CHECK_FAILED, CniError
from shibafu.cni.ip import Address
from shibafu.command.leases import open_pool
from shibafu.command.networks import ConfiguredNetwork
from shibafu.resource.base import Fault, Resource
from shibafu.resource.view import View


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
            return [Fault(error.msg, error.details, is_mendable=self._is_mendable())]

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

    def _is_mendable(self) -> bool:
        """Return whether an address is lost, and nobody else has one of these."""
        owners = {lease.address: lease.owner for lease in self._pool.list()}
        found = [owners.get(address) for address in self._addresses]
        return None in found and all(owner in (None, self._owner) for owner in found)
