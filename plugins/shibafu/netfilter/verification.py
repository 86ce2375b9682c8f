"""Hints that spare a network's rules a look: nothing in nf_tables has changed since they were found right.

Looking at them takes a program for each family; asking for nf_tables' generation takes a system call. The
generation that was in force when the rules were last found right, or made, is left next to their record as a
hint: a digest of all that it holds for. Next to it is one of the rules themselves (`rule_state`): where
others have changed something else, such as ports that were published, it still holds, which takes a dump of
each chain. If the hint says anything else, the rules are looked at. A third digest is there if nobody else's
chains could drop anything at that generation either, which CHECK need not look for then.

ADD leaves it, with the network's lock held. CHECK renews one that is there: it only says when
somebody looked, so that nothing changes for anybody but the next call, and a renewed one cannot outlive the
records, which a DEL may remove at the same moment.
"""

from shibafu.cni.names import NFTABLES, calc_digest
from shibafu.netfilter.backend import identify_programs
from shibafu.netfilter.generation import list_legacy_tables, open_watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping
    from typing import Protocol

    from shibafu.netfilter.ruleset import Ruleset

    # A chain of iptables: version of IP, table and name.
    Place = tuple[int, str, str]

    class Hints(Protocol):
        """Where hints are kept: a network's records (`resource.records.NetworkState`)."""

        def identify_netns(self) -> str:
            """Return what identifies the namespace across boots; empty where that is unknown."""

        def read_hint(self, what: str) -> bytes:
            """Return a hint; empty when there is none."""

        def write_hint(self, what: str, content: bytes, is_locked: bool) -> None:
            """Leave a hint, if possible."""


_DIGEST_SIZE = 16
# Of a hint: how many digests it has, what is there in place of one, and what the third is of.
_WORDS, _UNKNOWN, _CLEAR = 3, b"-", "{} clear"


class Verification:
    """The last check of a network's rules, and the generation of nf_tables from then on.

    Args:
        hints: where the network's hints are.
        what: which of them; see `NetworkState.read_hint`.

    Attributes:
        is_clear: whether no chain of others could drop anything either, by the hint that holds.
    """

    __slots__ = ("_generation", "_hints", "_mark", "_watch", "_what", "is_clear")

    def __init__(self, hints: "Hints", what: str = "") -> None:
        self.is_clear = False
        self._hints = hints
        self._what = what
        self._mark = hints.identify_netns()
        self._watch = open_watch() if self._mark else None
        # What it was when it was last asked for; 0 where it cannot be told.
        self._generation = self._watch.ask() if self._watch is not None else 0

    def holds(self, subject: str, list_chains: "Callable[[], Iterable[Place]]" = tuple) -> bool:
        """Return whether the rules had been found right, and nothing about them had changed since.

        Args:
            subject: what identifies the rules, and the programs that look at them; empty where
                that is unknown.
            list_chains: returns the chains of iptables that a look at them compares.
        """
        if not (self._generation and subject):
            return False
        words = self._hints.read_hint(self._what).split(b" ")
        if len(words) != _WORDS:
            return False
        last, rules, clear = words
        if last == self._render(subject, str(self._generation)):
            self.is_clear = clear == self._render(subject, _CLEAR.format(self._generation))
            return True
        if rules == _UNKNOWN:
            return False
        # Something has changed, perhaps something else.
        state = _read_state(list_chains())
        is_same = bool(state) and rules == self._render(subject, state) and self._has_only(())
        if is_same:
            self._write(subject, state, is_locked=False)
        return is_same

    def still_holds(self) -> bool:
        """Return whether nothing at all has changed since this asked last.

        If something has, `holds` compares the rules themselves.
        """
        is_same = self._has_only(())
        if not is_same and self._watch is not None:
            self._generation = self._watch.ask()
        return is_same

    def note(
        self,
        subject: str,
        chains: "Iterable[Place]",
        pids: "Container[int]",
        is_locked: bool,
        is_clear: bool = False,
    ) -> None:
        """Leave the hint that the rules are correct, unless anything has been changed in the meantime.

        Args:
            subject: see `holds`.
            chains: those of iptables that a look compares; none where it compares sets as well.
            pids: the processes that have looked at the rules, or made them.
            is_locked: whether the network's lock is held; see `NetworkState.write_hint`.
            is_clear: whether it has just been found that no chain of others could drop anything.
        """
        places = list(chains)
        versions = {version for version, _, _ in places}
        state = _read_state(places) if places and subject else ""
        is_known = subject and self._has_only(pids) and not _may_be_legacy(versions)
        if is_known:
            self._write(subject, state, is_locked, is_clear)
        elif is_locked:
            # An empty one is there for CHECK to renew.
            self._hints.write_hint(self._what, b"", is_locked)

    def close(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.close()

    def _has_only(self, pids: "Container[int]") -> bool:
        """Return whether only these processes have changed anything since the last question."""
        generation = self._watch.ask_again(pids) if self._watch is not None else 0
        self._generation = generation
        return generation > 0

    def _write(self, subject: str, state: str, is_locked: bool, is_clear: bool = False) -> None:
        words = [
            self._render(subject, str(self._generation)),
            self._render(subject, state) if state else _UNKNOWN,
            self._render(subject, _CLEAR.format(self._generation)) if is_clear else _UNKNOWN,
        ]
        self._hints.write_hint(self._what, b" ".join(words), is_locked)

    def _render(self, subject: str, state: str) -> bytes:
        return calc_digest(self._mark, subject, state, size=_DIGEST_SIZE).encode()


def _read_state(chains: "Iterable[Place]") -> str:
    # Not at the top: where nothing has changed, nobody asks.
    from shibafu.netfilter.rule_state import read_state

    return read_state(chains)


def _may_be_legacy(versions: "Iterable[int]") -> bool:
    """Return whether rules that were seen may be the legacy variant's, which has no generation."""
    try:
        return any(list_legacy_tables(version) for version in versions)
    except OSError:
        return True


def identify_table(ruleset: "Ruleset", env: "Mapping[str, str]") -> str:
    """Return what identifies a ruleset that is a table of nftables, and the program.

    Args:
        ruleset: the ruleset.
        env: the environment.
    """
    program = identify_programs(NFTABLES, [], env)
    return f"{program}\n{ruleset.identify()}" if program else ""
