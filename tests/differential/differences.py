"""Every deliberate difference between shibafu and the reference, with its reason.

A difference is applied to the cases and fields it names and to nothing else. One that a named case
no longer shows fails the test just as one that nothing here explains.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from differential.case import ABSENT, Case
from differential.comparison import THERE, Deviation


@dataclass(frozen=True)
class Difference:
    """One deliberate difference.

    Args:
        name: a short name, for the documentation.
        kind: `newer`, `defect`, `error` or `choice`; see KINDS.
        reason: what is different and why, in whole sentences.
        fields: patterns of the facts concerned, as of fnmatch(3).
        cases: the cases concerned; those with a wildcard show it if any of them does.
        reference: a pattern of the reference's value.
        ours: a pattern of ours.
    """

    name: str
    kind: str
    reason: str
    fields: tuple[str, ...]
    cases: tuple[str, ...] = ("*",)
    reference: str = "*"
    ours: str = "*"

    def explains(self, case: Case, deviation: Deviation) -> bool:
        """Tell whether this is the reason of a deviation."""
        return (
            any(fnmatchcase(case.name, pattern) for pattern in self.cases)
            and any(fnmatchcase(deviation.field, pattern) for pattern in self.fields)
            and fnmatchcase(deviation.reference, self.reference)
            and fnmatchcase(deviation.ours, self.ours)
        )


KINDS = {
    "newer": "Newer releases of the reference do the same; the differential test runs against 1.1.1.",
    "defect": "The reference's behaviour is a defect.",
    "error": "Errors say more and have the specification's codes; the reference answers 999 to nearly everything.",
    "choice": "shibafu does it another way on purpose.",
}

_ERRORS = (
    Difference(
        "error-codes",
        "error",
        "Errors have the codes of the specification, or from 100 on the suite's own; the text is the same.",
        ("* answer.code",),
        reference="999",
        ours="[1-9]*",
    ),
    Difference(
        "error-version",
        "error",
        "The error object states the cniVersion of the configuration, as the specification wants it.",
        ("* answer.cniVersion",),
        reference=ABSENT,
    ),
    Difference(
        "error-details",
        "error",
        "The error object's details say what to change.",
        ("* answer.details",),
        reference=ABSENT,
    ),
)

_NEWER = (
    Difference(
        "empty-dns",
        "newer",
        "Results of 1.0.0 and later leave `dns` out when it is empty.",
        ("* answer.dns",),
        reference="{}",
        ours=ABSENT,
    ),
    Difference(
        "lease-mode",
        "newer",
        "Files of the store are readable by root only.",
        ("* store */* mode",),
        reference="100644",
        ours="100600",
    ),
    Difference(
        "keep-addr-on-down",
        "newer",
        "A container's IPv6 addresses survive its link's going down.",
        ("after-ADD * sysctl ipv6/conf/[*]/keep_addr_on_down",),
        reference="0",
        ours="1",
    ),
)

DIFFERENCES = (*_ERRORS, *_NEWER)


def explain(case: Case, deviation: Deviation) -> Difference | None:
    """Return the reason of a deviation; None when there is none."""
    return next((known for known in DIFFERENCES if known.explains(case, deviation)), None)
