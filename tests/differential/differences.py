"""Every deliberate difference between shibafu and the reference, with its reason.

A difference is applied to the facts and cases that it names and to nothing else. A deviation that
nothing here explains fails the test, and so does an explanation that a case no longer needs.
"""

from differential.case import Case
from differential.comparison import Deviation
from differential.difference import Difference
from differential.differences_chained import CHAINED
from differential.differences_choices import CHOICES
from differential.differences_defects import DEFECTS
from differential.differences_errors import ERRORS, NEWER

DIFFERENCES: tuple[Difference, ...] = (*ERRORS, *NEWER, *DEFECTS, *CHOICES, *CHAINED)


def explain(case: Case, deviation: Deviation) -> Difference | None:
    """Return the reason of a deviation; None when there is none."""
    return next((known for known in DIFFERENCES if known.explains(case, deviation)), None)
