"""How often the same thing is healed: what is removed again and again is meant to be away.

The first three losses within a minute are healed at once, further ones after 1, 2, 4 ... 60 seconds. After
ten heals within ten minutes it is contested, and left alone.
"""

from collections import deque

_AT_ONCE, _MINUTE = 3, 60.0
_MOST, _PERIOD = 10, 600.0
_LONGEST_WAIT = 60.0
NEVER = float("inf")

# A network, and what is wrong with it in words.
Key = tuple[str, str]


class Backoff:
    """What was healed when, for each fault of each network by itself."""

    def __init__(self) -> None:
        self._heals: dict[Key, deque[float]] = {}
        self._contested: set[Key] = set()

    def calc_wait(self, key: Key, now: float) -> float:
        """Return how many seconds to wait before it is healed; NEVER for what is contested.

        Args:
            key: what.
            now: seconds of a monotonic clock.
        """
        if key in self._contested:
            return NEVER
        heals = self._heals.get(key)
        if heals is None:
            return 0.0
        while heals and heals[0] <= now - _PERIOD:
            heals.popleft()
        if not heals:
            del self._heals[key]
            return 0.0
        if len(heals) >= _MOST:
            self._contested.add(key)
            return NEVER
        if sum(one > now - _MINUTE for one in heals) < _AT_ONCE:
            return 0.0
        wait = min(2.0 ** (len(heals) - _AT_ONCE), _LONGEST_WAIT)
        return max(0.0, heals[-1] + wait - now)

    def note(self, key: Key, now: float) -> None:
        """Count a heal."""
        self._heals.setdefault(key, deque()).append(now)

    def list_contested(self) -> list[Key]:
        """Return what is left alone."""
        return sorted(self._contested)

    def forget(self, network: str) -> None:
        """Begin from the start with a network."""
        for key in [key for key in self._heals if key[0] == network]:
            del self._heals[key]
        self._contested = {key for key in self._contested if key[0] != network}
