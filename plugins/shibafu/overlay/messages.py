"""What the threads that talk to etcd tell the agent's main thread, and the mailbox in between."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from shibafu.overlay.cluster_network import ClusterNetwork
from shibafu.overlay.rejoining import RejoinRequest
from shibafu.overlay.subnet_leases import SubnetLease


@dataclass(frozen=True)
class HeldLease:
    """A host's own subnet, as etcd has it.

    Args:
        lease: what its key and value say.
        number: the number of etcd's lease; 0 for a reservation, which does not expire.
        seconds: how long etcd keeps it without hearing from this host.
    """

    lease: SubnetLease
    number: int
    seconds: int


@dataclass(frozen=True)
class NetworkKnown:
    """etcd has described the network."""

    network: ClusterNetwork


@dataclass(frozen=True)
class DescriptionSeen:
    """What etcd has as the description of the network now; None for nothing."""

    text: bytes | None


@dataclass(frozen=True)
class LeaseAcquired:
    """This host has a subnet, with these attributes."""

    held: HeldLease


@dataclass(frozen=True)
class SubnetTaken:
    """The subnet of this host has become another host's.

    Args:
        lease: what this host has lost; its containers have addresses of it.
        owner: the other host's address.
    """

    lease: SubnetLease
    owner: str


@dataclass(frozen=True)
class RejoinAnswered:
    """What `shibafu overlay rejoin` asks for has been tried; the messages before say what came of it."""

    request: RejoinRequest


@dataclass(frozen=True)
class LeasesListed:
    """All hosts at one moment.

    Args:
        leases: by the last part of their keys.
        is_restored: whether the store has gone back in time, so that hosts may be missing.
    """

    leases: dict[str, SubnetLease]
    is_restored: bool


@dataclass(frozen=True)
class LeasesChanged:
    """Hosts that have changed; None for one that has left."""

    leases: dict[str, SubnetLease | None]


@dataclass(frozen=True)
class EtcdState:
    """Whether etcd answers.

    Args:
        who: which of the network's threads has asked.
        trouble: why it does not; empty if it does.
        hint: what to do about it; may be empty.
        endpoint: who answers.
    """

    who: str
    trouble: str = ""
    hint: str = ""
    endpoint: str = ""


@dataclass(frozen=True)
class Crashed:
    """A thread has ended, by a defect of its own."""

    error: BaseException


Message = (
    NetworkKnown
    | DescriptionSeen
    | LeaseAcquired
    | SubnetTaken
    | RejoinAnswered
    | LeasesListed
    | LeasesChanged
    | EtcdState
    | Crashed
)


class Mailbox:
    """Messages of many threads for one, which waits for them with poll(2)."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[str, Message]] = SimpleQueue()
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._event

    def put(self, network: str, message: Message) -> None:
        """Leave a message about a network."""
        self._queue.put((network, message))
        os.eventfd_write(self._event, 1)

    def take(self) -> Iterator[tuple[str, Message]]:
        """Yield all messages that are there."""
        try:
            os.eventfd_read(self._event)
        except BlockingIOError:
            pass  # nothing is new
        while True:
            try:
                yield self._queue.get_nowait()
            except Empty:
                return
