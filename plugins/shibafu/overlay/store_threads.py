"""The two threads that talk to etcd for a network: one keeps the host's subnet, one watches all hosts.

They wait for etcd as long as it takes. The main thread never does: it repairs what the kernel has meanwhile.
"""

import random
import time
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from shibafu.overlay.cluster_network import ClusterNetwork, parse_cluster_network
from shibafu.overlay.config import OverlaySettings
from shibafu.overlay.errors import OverlayError
from shibafu.overlay.etcd import EtcdClient
from shibafu.overlay.etcd_watch import HistoryLostError, find_last_change, require_change, watch_prefix
from shibafu.overlay.messages import (
    Crashed,
    DescriptionSeen,
    EtcdState,
    HeldLease,
    LeaseAcquired,
    LeasesChanged,
    LeasesListed,
    Message,
    NetworkKnown,
    RejoinAnswered,
    SubnetTaken,
)
from shibafu.overlay.rejoining import RejoinRequest, read_rejoin_request
from shibafu.overlay.stored import StoreListing
from shibafu.overlay.subnet_allocation import SubnetAllocator, SubnetTakenError
from shibafu.overlay.subnet_leases import HostVteps, SubnetLease, parse_lease

_T = TypeVar("_T")
# Seconds between attempts.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
# The part of a lease's time after which it is renewed.
_RENEWAL = 1 / 3
# Seconds that a call of a plugin takes from the subnet file to an address, at most.
_UNDER_WAY = 1.0


class _StoreThread(Thread):
    """A thread that tries again until it succeeds.

    Args:
        who: what it does, in a word.
        settings: of the network.
        post: takes its messages.
    """

    def __init__(self, who: str, settings: OverlaySettings, post: Callable[[Message], None]) -> None:
        super().__init__(name=f"{settings.name} {who}", daemon=True)
        self._who = who
        self._settings = settings
        self._post = post
        self._pause = _SHORTEST_PAUSE

    def run(self) -> None:
        """Work until the process ends; a defect here ends all of it."""
        try:
            # Files of certificates may appear later.
            client = self._persist(lambda: EtcdClient(self._settings.etcd))
            self._work(client)
        except BaseException as error:
            self._post(Crashed(error))

    def _work(self, client: EtcdClient) -> None:
        raise NotImplementedError

    def _persist(self, attempt: Callable[[], _T]) -> _T:
        """Return what an attempt returns when it succeeds.

        Raises:
            SubnetTakenError, HistoryLostError: trying again would not help.
        """
        while True:
            try:
                return attempt()
            except (SubnetTakenError, HistoryLostError):
                raise
            except (OverlayError, OSError) as error:
                self._note_failure(error)

    def _note_success(self, client: EtcdClient) -> None:
        self._pause = _SHORTEST_PAUSE
        self._post(EtcdState(self._who, endpoint=client.endpoint))

    def _note_failure(self, error: OverlayError | OSError) -> None:
        message, hint = (error.message, error.hint) if isinstance(error, OverlayError) else (str(error), "")
        self._post(EtcdState(self._who, message, hint))
        # Not all hosts at once, when etcd is back.
        time.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)


class SubnetKeeper(_StoreThread):
    """Acquires this host's subnet, and keeps it.

    Args:
        settings: of the network.
        previous: the subnet that this host had when the agent ran last.
        post: takes its messages.
    """

    def __init__(
        self, settings: OverlaySettings, previous: SubnetLease | None, post: Callable[[Message], None]
    ) -> None:
        super().__init__("subnet", settings, post)
        self._previous = previous
        self._orders: SimpleQueue[HostVteps | RejoinRequest | None] = SimpleQueue()
        self._request: RejoinRequest | None = None

    def tell_host(self, host: HostVteps) -> None:
        """Have others told how to reach this host."""
        self._orders.put(host)

    def look(self) -> None:
        """Have a look whether the key of this host is there."""
        self._orders.put(None)

    def rejoin(self, request: RejoinRequest) -> None:
        """Have this host get a subnet again, and have that answered by a message."""
        self._orders.put(request)

    def _work(self, client: EtcdClient) -> None:
        settings = self._settings
        network = self._persist(lambda: self._read_network(client))
        self._note_success(client)
        self._post(NetworkKnown(network))
        allocator = SubnetAllocator(client, settings.prefix, network, settings.lease_seconds)
        host, previous = self._wait_for_host(), self._previous
        while True:
            try:
                held = self._acquire(allocator, host, previous)
            except SubnetTakenError as error:
                self._note_success(client)
                another = self._acquire_another(allocator, host, error.lease)
                if another is None:
                    self._post(SubnetTaken(error.lease, error.owner))
                    self._answer()
                    host = self._take_order(settings.lease_seconds) or host
                    continue
                held = another
            self._note_success(client)
            self._post(LeaseAcquired(held))
            self._answer()
            previous = held.lease
            host = self._keep(client, allocator, held) or host

    def _read_network(self, client: EtcdClient) -> ClusterNetwork:
        stored = client.get(f"{self._settings.prefix}/config")
        if stored is None:
            raise OverlayError(
                f"etcd has no network under {self._settings.prefix}",
                "describe it there: shibafu overlay init",
            )
        return parse_cluster_network(stored.value)

    def _acquire(
        self, allocator: SubnetAllocator, host: HostVteps, previous: SubnetLease | None
    ) -> HeldLease:
        return self._persist(lambda: allocator.acquire(host, previous))

    def _keep(self, client: EtcdClient, allocator: SubnetAllocator, held: HeldLease) -> HostVteps | None:
        """Keep a subnet until it is lost, or the host is to be reached in another way, which is returned."""
        while True:
            host = self._take_order(held.seconds)
            if host is not None:
                return host
            try:
                held = self._persist(lambda: allocator.keep(held))  # noqa: B023 - called at once
            except SubnetTakenError:
                return None
            self._note_success(client)
            self._post(LeaseAcquired(held))
            self._answer()

    def _wait_for_host(self) -> HostVteps:
        while True:
            host = self._take_order()
            if host is not None:
                return host

    def _take_order(self, seconds: int | None = None) -> HostVteps | None:
        """Wait for something to do, at most until a lease of so many seconds is to be renewed.

        Returns:
            How the host is to be reached from now on; None if that stays.
        """
        try:
            order = self._orders.get(timeout=None if seconds is None else seconds * _RENEWAL)
        except Empty:
            return None
        if isinstance(order, RejoinRequest):
            self._request = order
            return None
        return order

    def _acquire_another(
        self, allocator: SubnetAllocator, host: HostVteps, lost: SubnetLease
    ) -> HeldLease | None:
        """Acquire another subnet if the command wants that, and leave the lost one; None otherwise."""

        def attempt() -> HeldLease | None:
            # Each time: the command may have given up, and withdrawn it.
            return allocator.acquire(host, None) if self._may_leave(lost) else None

        if self._request is None or not self._request.new_subnet:
            return None
        # Calls of the plugin that would take an address no longer begin; those under way have to be seen.
        time.sleep(_UNDER_WAY)
        return self._persist(attempt)

    def _may_leave(self, lost: SubnetLease) -> bool:
        """Return whether the command still waits for another subnet, and nobody needs the lost one.

        Raises:
            OSError: it cannot be found out.
        """
        request = self._request
        try:
            if request is None or read_rejoin_request(self._settings.name) != request:
                return False
        except ValueError:
            return False
        subnets = [subnet for subnet in (lost.subnet, lost.subnet6) if subnet is not None]
        return request.is_waited_for and not request.find_newcomers(subnets)

    def _answer(self) -> None:
        if self._request is not None:
            self._post(RejoinAnswered(self._request))
            self._request = None


class HostWatcher(_StoreThread):
    """Follows which hosts there are, and how the network is described.

    Args:
        settings: of the network.
        post: takes its messages.
    """

    def __init__(self, settings: OverlaySettings, post: Callable[[Message], None]) -> None:
        super().__init__("watch", settings, post)
        # Of all that is watched, and of hosts.
        self._whole = f"{settings.prefix}/"
        self._prefix = f"{settings.prefix}/subnets/"
        self._description = f"{settings.prefix}/config"

    def _work(self, client: EtcdClient) -> None:
        is_restored = False
        while True:
            listing = self._persist(lambda: client.list_prefix(self._whole))
            stored = {value.key: value.value for value in listing.values}
            self._post(DescriptionSeen(stored.get(self._description)))
            leases = {key: lease for key, lease in self._parse(stored).items() if lease is not None}
            self._post(LeasesListed(leases, is_restored))
            try:
                self._follow(client, listing)
            except HistoryLostError as error:
                is_restored = error.is_restored

    def _follow(self, client: EtcdClient, listing: StoreListing) -> None:
        """Follow what changes after a listing.

        Raises:
            HistoryLostError: some changes are missing.
        """
        revision, last = listing.revision, find_last_change(listing)
        while True:
            try:
                for changes in watch_prefix(client, self._whole, revision, listing.cluster):
                    self._note_success(client)
                    last = changes.last or last
                    if self._description in changes.values:
                        self._post(DescriptionSeen(changes.values[self._description]))
                    leases = self._parse(changes.values)
                    if leases:
                        self._post(LeasesChanged(leases))
            except HistoryLostError:
                raise
            except (OverlayError, OSError) as error:
                client.rotate()
                self._note_failure(error)
            if last is None:
                raise HistoryLostError("nothing is known by which etcd could be recognized")
            self._persist(partial(require_change, client, last))
            revision = last.revision

    def _parse(self, values: "dict[str, bytes] | dict[str, bytes | None]") -> "dict[str, SubnetLease | None]":
        """Return hosts by the last part of their keys; what is damaged stays as it was."""
        leases: dict[str, SubnetLease | None] = {}
        for full_key, value in values.items():
            if not full_key.startswith(self._prefix):
                continue
            key = full_key.removeprefix(self._prefix)
            lease = None if value is None else parse_lease(key, value)
            if value is None or lease is not None:
                leases[key] = lease
        return leases
