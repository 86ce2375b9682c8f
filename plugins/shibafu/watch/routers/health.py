"""When a router counts as dead, and which routes are left for that reason.

It counts as dead when its link has no carrier, or three questions in a row were not answered; as alive again
after ten answers in a row. While all are dead nothing is changed: then it is not the routers' fault, or there
is nothing better.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MISSES, PROOFS = 3, 10


class RouterHealth:
    """What is known of one router.

    Args:
        is_alive: what is believed before the first question.

    Attributes:
        is_connected: whether it can be asked at all: its link has a carrier.
        is_alive: whether packets are to be sent to it.
        misses: how many questions in a row it has not answered.
    """

    def __init__(self, is_alive: bool = True) -> None:
        self.is_connected = True
        self.is_alive = is_alive
        self.misses = 0
        self._answers = 0
        self._is_asked = False

    def note_connection(self, is_connected: bool) -> None:
        """Note whether it can be asked."""
        self.is_connected = is_connected
        if not is_connected:
            self.is_alive = self._is_asked = False
            self.misses = self._answers = 0

    def note_question(self) -> None:
        """Note that it is asked again: an earlier question has had its time."""
        if self._is_asked:
            self.misses += 1
            self._answers = 0
            self.is_alive &= self.misses < MISSES
        self._is_asked = self.is_connected

    def note_answer(self) -> None:
        """Note that it has answered; a second answer to the same question says no more."""
        if not self._is_asked:
            return
        self._is_asked = False
        self.misses = 0
        self._answers += 1
        self.is_alive |= self._answers >= PROOFS


def calc_raised(healths: "Sequence[RouterHealth]", former: "Sequence[bool]") -> list[bool]:
    """Return whether the route to each router is to be behind those to others.

    A router without a carrier is left for any that lives. A silent one is left for one that has answered the
    last question, so that nothing changes when all fall silent, one a moment after the other.

    Args:
        healths: of the routers.
        former: what this returned before.
    """
    lives = any(health.is_alive for health in healths)
    answers = any(health.is_alive and not health.misses for health in healths)
    return [
        not health.is_alive and (was_raised or answers or (lives and not health.is_connected))
        for health, was_raised in zip(healths, former, strict=True)
    ]
