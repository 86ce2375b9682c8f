"""The file of a paused network: until it ends, what an administrator changes of the network stays as it is.

It is `paused` in the directory of the network's records. Like these it does not outlive a boot, and it goes
with the network's last attachment: where there is none, there is nothing to leave alone.
"""

from time import time

from shibafu.lean.json import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.resource.records import NetworkState


class Pause:
    """A pause of a network.

    Args:
        since: when it began, in seconds since 1970.
        until: when it ends, likewise; None if only `resume` ends it.
        by: who asked for it, such as a user's name; may be empty.
    """

    __slots__ = ("by", "since", "until")

    def __init__(self, since: int, until: int | None, by: str) -> None:
        self.since = since
        self.until = until
        self.by = by

    @classmethod
    def parse(cls, content: bytes) -> "Pause | None":
        """Return the pause that a file describes; None for an empty or a damaged file."""
        try:
            stated = loads(content)
        except ValueError:
            return None
        if not isinstance(stated, dict):
            return None
        since, until, by = stated.get("since"), stated.get("until"), stated.get("by")
        if not (isinstance(since, int) and isinstance(until, int | None) and isinstance(by, str)):
            return None
        return cls(since, until, by)

    def to_json(self) -> dict[str, object]:
        """Return it for a file, and for programs."""
        return {"since": self.since, "until": self.until, "by": self.by}

    def has_ended(self) -> bool:
        """Return whether its time is over."""
        return self.until is not None and self.until <= time()


def is_paused(state: "NetworkState") -> bool:
    """Return whether a network is paused now.

    Args:
        state: the network's records.
    """
    return read_pause(state) is not None


def read_pause(state: "NetworkState") -> Pause | None:
    """Return the pause of a network; None if it is not paused, or no longer."""
    if not state.has_pause():
        return None
    pause = Pause.parse(state.read_pause())
    return None if pause is None or pause.has_ended() else pause


def write_pause(state: "NetworkState", pause: Pause) -> bool:
    """Pause a network, or pause it differently; return False, and do nothing, if nothing is attached to it.

    Args:
        state: the network's records, which nobody has locked.
        pause: until when, and who wants it.

    Raises:
        CniError: others hold the network's lock for long.
        OSError: it cannot be written.
    """
    if not state.attachments():
        return False
    # The last DEL removes the file under this lock, after its attachment's record.
    state.lock_exclusive()
    try:
        has_attachments = bool(state.attachments())
        if has_attachments:
            state.write_pause(dumps(pause.to_json()).encode())
    finally:
        state.unlock()
    if not has_attachments:
        state.remove_if_unused()
    return has_attachments


def end_pause(state: "NetworkState") -> bool:
    """End the pause of a network; return whether it was paused."""
    was_paused = is_paused(state)
    state.remove_pause()
    return was_paused


def discard_stale_pause(state: "NetworkState") -> None:
    """Remove what a call has left that was killed while it removed the network's last attachment.

    Args:
        state: the network's records, before an ADD writes its own.

    Raises:
        CniError: others hold the network's lock for long.
    """
    if not state.has_pause() or state.attachments():
        return
    state.lock_exclusive()
    try:
        if not state.attachments():
            state.remove_pause()
    finally:
        state.unlock()
