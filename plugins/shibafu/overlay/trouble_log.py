"""What troubles a network on this host: each change of it is logged once, and the state has the first."""

from collections.abc import Callable


class TroubleLog:
    """Troubles by who has noticed them.

    Args:
        log: takes lines for people.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._troubles: dict[str, tuple[str, str]] = {}
        self._remarks: dict[str, str] = {}

    @property
    def first(self) -> tuple[str, str]:
        """One trouble and what to do about it; both are empty where there is none."""
        return next((both for both in self._troubles.values() if both[0]), ("", ""))

    def note(self, who: str, trouble: str, hint: str = "") -> bool:
        """Note what is wrong, or that nothing is any more; return whether that is news."""
        before = self._troubles.get(who, ("", ""))
        if before == (trouble, hint):
            return False
        self._troubles[who] = trouble, hint
        if trouble:
            self._log(f"{trouble}; {hint}" if hint else trouble)
        elif before[0]:
            self._log(f"no longer: {before[0]}")
        return True

    def remark(self, who: str, remark: str) -> None:
        """Log what is unusual, and perhaps wanted; empty for nothing."""
        if remark and remark != self._remarks.get(who):
            self._log(remark)
        self._remarks[who] = remark
