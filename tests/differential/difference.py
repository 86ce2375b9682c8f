"""What a deliberate difference is, and when it explains a deviation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from differential.case import Case
from differential.comparison import Deviation

KINDS = {
    "newer": "Newer releases of the reference do the same; the test runs against release 1.1.1",
    "defect": "The reference's behaviour is a defect",
    "error": "Errors say more; the reference answers 999 to nearly everything",
    "choice": "shibafu does it another way on purpose",
}
ANY = ("*",)


@dataclass(frozen=True)
class Difference:
    """One deliberate difference.

    Args:
        name: a short name, for the documentation.
        kind: one of KINDS.
        reason: what is different and why, in whole sentences.
        fields: patterns of the facts concerned, as of fnmatch(3).
        cases: the cases concerned, by name or by pattern. Each case that is named has to show the
            difference, and so has at least one of those that only a pattern names.
        reference: a pattern of the reference's value.
        ours: a pattern of ours.
        shows: where the outcomes have nothing in common, since only one suite succeeds: facts that
            ours has to have.
        by_chance: whether the reference shows it only at times, so that no case has to.
    """

    name: str
    kind: str
    reason: str
    fields: tuple[str, ...]
    cases: tuple[str, ...] = ANY
    reference: str = "*"
    ours: str = "*"
    shows: Mapping[str, str] = field(default_factory=dict)
    by_chance: bool = False

    def explains(self, case: Case, deviation: Deviation) -> bool:
        """Return whether this is the reason of a deviation."""
        return (
            any(fnmatchcase(case.name, pattern) for pattern in self.cases)
            and any(fnmatchcase(deviation.field, pattern) for pattern in self.fields)
            and fnmatchcase(deviation.reference, self.reference)
            and fnmatchcase(deviation.ours, self.ours)
        )

    def named_cases(self) -> set[str]:
        """Return the cases that are named, not matched by a pattern."""
        return {name for name in self.cases if not set("*?[") & set(name)}
