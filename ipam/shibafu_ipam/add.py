"""ADD: give the container one address of each range set, or none at all."""

from shibafu.cni.errors import INVALID_ENVIRONMENT, NO_ADDRESS, TRY_AGAIN_LATER, CniError
from shibafu.cni.request import Request
from shibafu.cni.result import IPConfig, Result, parse_routes
from shibafu.lean.ip import Address, Cidr
from shibafu_ipam.allocator import choose_address, refuse_requested
from shibafu_ipam.config import IpamConfig
from shibafu_ipam.index import Index
from shibafu_ipam.lease_table import LeaseTable
from shibafu_ipam.liveness import calc_view, is_abandoned
from shibafu_ipam.ranges import Range, RangeSet
from shibafu_ipam.store import MAX_LEASE, Store, describe_store_failure

# A lease has room for the interface's name, too.
_MAX_CONTAINER_ID = MAX_LEASE - 64


def add(request: Request) -> dict[str, object]:
    """Reserve addresses and return the result in the configuration's version.

    Raises:
        CniError: why it could not be done; nothing is reserved then.
    """
    config = IpamConfig(request)
    if len(request.container_id) > _MAX_CONTAINER_ID:
        raise CniError(
            INVALID_ENVIRONMENT,
            f"container ID is too long: it has {len(request.container_id)} characters",
            f"CNI_CONTAINERID may have at most {_MAX_CONTAINER_ID} characters",
        )
    result = Result(routes=parse_routes(config.section))
    if config.resolv_conf:
        from shibafu_ipam.resolvconf import parse_resolv_conf

        result.dns = parse_resolv_conf(config.resolv_conf)
    requested = assign_requested(config.range_sets, config.requested)
    try:
        with Store(config.data_dir, request.network) as store:
            store.lock_or_create()
            result.ips = _reserve(store, request, config.range_sets, requested)
    except OSError as error:
        raise describe_store_failure("reserve an address", error) from None
    return result.to_json(request.cni_version)


def _reserve(
    store: Store, request: Request, range_sets: list[RangeSet], requested: list[Address | None]
) -> list[IPConfig]:
    for is_last in (False, True):
        with Index(store) as index:
            try:
                table = LeaseTable(index)
                table.open()
                return Reservation(table, request).reserve(range_sets, requested)
            except OSError as error:
                if is_last or not index.is_blocked_by(error):
                    raise
                from shibafu.cni.failures import remove_tree

                # What is lost can be found out again: the index is only a hint.
                remove_tree(index.directory)
    raise AssertionError("the second time it is done, or an error")


def assign_requested(range_sets: list[RangeSet], requested: list[Address]) -> list[Address | None]:
    """Return the requested address of each range set, None where any will do.

    Raises:
        CniError: an address is of no set, or of one that has got another.
    """
    remaining = list(requested)
    assigned: list[Address | None] = []
    for range_set in range_sets:
        wanted = next((address for address in remaining if range_set.range_of(address)), None)
        assigned.append(wanted)
        if wanted is not None:
            remaining.remove(wanted)
    if remaining:
        raise CniError(
            NO_ADDRESS,
            f"failed to allocate all requested IPs: {' '.join(str(address) for address in remaining)}",
            "each requested address must be in a range of its own range set",
        )
    return assigned


class Reservation:
    """What one ADD takes.

    Args:
        table: the network's addresses.
        request: the call.
    """

    __slots__ = ("_owned", "_record", "_table")

    def __init__(self, table: LeaseTable, request: Request) -> None:
        self._table = table
        self._record = table.find(request.container_id, request.ifname)
        if self._record.addresses and is_abandoned(self._record):
            # The same container was started again, and its DEL has never come.
            table.release(self._record)
        # Some callers give a path that never was a namespace: its absence later would say nothing.
        if not self._record.addresses:
            self._record.view = calc_view(request.netns, request.netns_number)
            self._record.netns = request.netns if self._record.view else ""
        self._owned = len(self._record.addresses)

    def reserve(self, range_sets: list[RangeSet], requested: list[Address | None]) -> list[IPConfig]:
        """Take an address of each set.

        Raises:
            CniError: why one could not be had; those that were taken are released.
        """
        ips = []
        try:
            for number, range_set in enumerate(range_sets):
                try:
                    ips.append(self._reserve_one(range_set, number, requested[number]))
                except CniError as error:
                    error.msg = f"failed to allocate for range {number}: {error.msg}"
                    raise
        except CniError:
            self._table.release(self._record, self._taken())
            self._table.close()
            raise
        except OSError:
            # The index cannot be made right now, so it stays invalid; the addresses go back all the same.
            for address in self._taken():
                self._table.store.lease_del(address)
            raise
        self._table.close()
        return ips

    def _taken(self) -> list[Address]:
        return self._record.addresses[self._owned :]

    def _reserve_one(self, range_set: RangeSet, number: int, wanted: Address | None) -> IPConfig:
        if wanted is not None:
            one, address = self._take_requested(range_set, wanted)
        else:
            self._refuse_duplicate(range_set)
            one, address = self._take_any(range_set, number)
        self._table.store.write_last_reserved(number, address)
        return IPConfig(Cidr(address, one.subnet.prefix), one.gateway)

    def _take_requested(self, range_set: RangeSet, address: Address) -> tuple[Range, Address]:
        one = range_set.range_of(address)
        if one is None:
            raise CniError(NO_ADDRESS, f"{address} not in range set {range_set}")
        refusal = refuse_requested(one, address)
        if refusal:
            raise CniError(NO_ADDRESS, refusal)
        if self._table.take(self._record, address):
            return one, address
        holder = self._table.holder(address)
        if is_abandoned(holder):
            self._table.release(holder)
            if self._table.take(self._record, address):
                return one, address
        raise CniError(
            NO_ADDRESS,
            f"requested IP address {address} is not available in range set {range_set}",
            f"container {holder.container_id} has it"
            if holder.container_id
            else f"{self._table.store.lease_path(address)} is not a lease; remove it if nobody needs it",
        )

    def _refuse_duplicate(self, range_set: RangeSet) -> None:
        """Refuse a second address of one pool; leases of old versions count for any interface."""
        old = self._table.find(self._record.container_id, "")
        for address in self._record.addresses + old.addresses:
            if range_set.range_of(address) is not None:
                raise CniError(
                    NO_ADDRESS,
                    f"{address} has been allocated to {self._record.container_id}, "
                    "duplicate allocation is not allowed",
                    "run DEL for the container and interface before the next ADD",
                )

    def _take_any(self, range_set: RangeSet, number: int) -> tuple[Range, Address]:
        table = self._table
        # Once more after a look at every lease, in case the index was wrong or namespaces have vanished.
        for is_last in (False, True):
            choice = choose_address(
                range_set, table.store.read_last_reserved(number), table.index.pages.find_free
            )
            if choice is not None and table.take(self._record, choice[1]):
                return choice
            if not is_last:
                table.rebuild(lambda _, record: not is_abandoned(record))
        raise CniError(
            TRY_AGAIN_LATER,
            f"no IP addresses available in range set: {range_set}",
            "every address is taken by a container; make the range larger, or wait until one ends",
        )
