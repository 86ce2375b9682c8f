"""Every configuration of the table through both suites: no difference but those explained."""

from fnmatch import fnmatchcase

import pytest

from differential.case import Case
from differential.conftest import Trial
from differential.difference import KINDS, Difference
from differential.differences import DIFFERENCES, explain
from differential.table import CASES

# All in one process: each case is run once, and the last test looks at all of them.
pytestmark = [pytest.mark.root, pytest.mark.xdist_group("differential")]
_REPRODUCIBLE = [difference for difference in DIFFERENCES if not difference.by_chance]


def _find_shown(trial: Trial, case: Case) -> set[str]:
    """Return the names of the differences that a case shows."""
    known = (explain(case, deviation) for deviation in trial.deviations(case))
    return {difference.name for difference in known if difference} | ({case.despite} - {""})


def _is_proven(difference: Difference, ours: dict[str, str]) -> bool:
    """Return whether our outcome has the facts that a difference promises."""
    return all(
        any(fnmatchcase(field, wanted) and fnmatchcase(value, pattern) for field, value in ours.items())
        for wanted, pattern in difference.shows.items()
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(trial: Trial, case: Case) -> None:
    unexplained = [deviation for deviation in trial.deviations(case) if explain(case, deviation) is None]
    if unexplained:
        pytest.fail(f"{len(unexplained)} unexplained:\n" + "\n".join(map(str, unexplained)), pytrace=False)
    shown = _find_shown(trial, case)
    expected = {known.name for known in _REPRODUCIBLE if case.name in known.named_cases()}
    assert expected <= shown, "explained, but no longer so"
    unproven = [d.name for d in DIFFERENCES if d.name in shown and not _is_proven(d, trial.ours(case))]
    assert not unproven, "explained, but our outcome is not what the explanation says"


def test_every_explanation_is_needed(trial: Trial) -> None:
    shown = {name for case in CASES for name in _find_shown(trial, case)}
    assert {known.name for known in _REPRODUCIBLE} <= shown


def test_the_table_is_large_and_its_names_are_unique() -> None:
    names = {case.name for case in CASES}
    assert len(names) == len(CASES) >= 150


def test_explanations_are_well_formed() -> None:
    names = {case.name for case in CASES}
    assert len({difference.name for difference in DIFFERENCES}) == len(DIFFERENCES)
    for difference in DIFFERENCES:
        assert difference.kind in KINDS
        assert difference.reason.endswith(".")
        assert difference.named_cases() <= names
        # What says nothing of values has to say what our outcome is instead.
        is_wide = any(field.rstrip("*").endswith((" ", "-ADD ", "-CHECK ")) for field in difference.fields)
        assert not is_wide or difference.shows or (difference.reference, difference.ours) != ("*", "*")
