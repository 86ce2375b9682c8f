"""The claim to an attachment: its record, there from before its first address to after its link.

DEL does not wait for an ADD that is at work. It removes the record, and ADD sees that, since an update never
makes one.
"""

import os

from shibafu.cni.errors import NETWORK_SETUP, CniError
from shibafu.cni.lock import PATIENCE, Lock
from shibafu.resource.base import Resource
from shibafu.resource.record import CLAIMED, LEAVING, Record
from shibafu.resource.records import link_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.resource.records import NetworkState
    from shibafu.resource.view import View


class Claim(Resource):
    """The claim to one attachment.

    Args:
        state: the network's records.
        link: the attachment's link on the host, which the record is called after.
        record: what is to be remembered, or what is.

    Attributes:
        is_paused: whether the network was paused when the claim was made: what others need too is left alone.
    """

    __slots__ = ("_link", "_state", "is_paused", "record")
    is_last = True
    is_removal_barrier = True

    def __init__(self, state: "NetworkState", link: str, record: Record) -> None:
        self._state = state
        self._link = link
        self.record = record
        self.is_paused = False

    def lock(self, patience: float = PATIENCE) -> Lock:
        """Return the lock to hold, by `with`, while attaching or repairing.

        Two ADDs of one interface may name different namespaces, each with a lock of its own; the record and
        the address are those of the interface all the same. The one that waited finds the other's link.

        Args:
            patience: seconds.
        """
        name = f"{self._link}-{os.stat('/proc/self/ns/net').st_ino}"
        what = f"interface {self.record.ifname} of container {self.record.container_id}"
        return Lock(name, what, handed_down=False, patience=patience)

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the attachment's record"

    def ensure(self, view: "View") -> bool:
        """Write the record: before all else, so that whatever a killed call leaves is found."""
        self.record.phase = CLAIMED
        self._state.write_attachment(self._link, self.record)
        # Only now: who pauses the network waits for the calls whose claims are there.
        if self._state.has_pause():
            from shibafu.resource.pause_file import is_paused

            self.is_paused = is_paused(self._state)
        return True

    def update(
        self, phase: str, *, ips: list[str] | None = None, result: dict[str, object] | None = None
    ) -> None:
        """Write how far the attachment has come, and what is known about it so far.

        Args:
            phase: one of `record`'s.
            ips: its addresses with their prefixes, if they have become known.
            result: what ADD answers, likewise.

        Raises:
            CniError: a DEL has overtaken this call.
        """
        self.require()
        self.record.phase = phase
        self.record.ips = ips or self.record.ips
        self.record.result = result or self.record.result
        try:
            self._state.update_attachment(self._link, self.record)
        except FileNotFoundError:
            raise self.describe_overtaken() from None

    def require(self) -> None:
        """Refuse to go on with an attachment that a DEL has removed, or is removing.

        Raises:
            CniError: it has.
        """
        if not self.holds():
            raise self.describe_overtaken()

    def holds(self) -> bool:
        """Return whether the attachment still has a record and is not being removed."""
        if self._state.holds(self._link, self.record):
            return self.record.phase != LEAVING
        found = self._state.find_attachment(self._link)
        return found is not None and found.phase != LEAVING

    def leave(self) -> None:
        """Mark a recorded attachment as being removed, so that it is not restored."""
        was_marked = self.record.phase == LEAVING
        self.record.phase = LEAVING
        if self.record.owner is not None and not was_marked:
            try:
                self._state.update_attachment(self._link, self.record)
            except FileNotFoundError:
                pass  # another DEL was first

    def note_port_rules(self, *, is_internal: bool = False, has_spoof_check: bool = False) -> None:
        """Record rules that the port gets after its attachment: DEL goes by the record.

        Raises:
            CniError: a DEL has overtaken this call.
        """
        record = self.record
        is_known = record.is_internal >= is_internal and record.has_spoof_check >= has_spoof_check
        if record.owner is not None and not is_known:
            record.is_internal |= is_internal
            record.has_spoof_check |= has_spoof_check
            self.update(record.phase)

    def remove(self) -> None:
        """Forget the attachment; after `leave`, look for its link once more.

        An ADD at the same moment may have made it since a DEL looked, and have seen the record before. (One
        that is there when an ADD takes itself back is somebody else's.)
        """
        self._state.remove_attachment(self._link)
        is_leaving = self.record.phase == LEAVING
        if is_leaving and link_exists(self._link) and not self._state.remembers(self._link):
            from shibafu.netlink.link_removal import link_del_announced

            link_del_announced(self._link)

    def describe_overtaken(self) -> CniError:
        """Return the refusal of an ADD that a DEL has overtaken: its address may be gone already."""
        return CniError(
            NETWORK_SETUP,
            f"interface {self.record.ifname} of container {self.record.container_id} was detached "
            "while it was being attached",
            "DEL was called before ADD had finished; run ADD again if the container is still wanted",
        )
