"""Every configuration of the table through both suites: no difference but those explained."""

import pytest

from differential.case import Case
from differential.conftest import Trial
from differential.differences import DIFFERENCES, explain
from differential.table import CASES

pytestmark = pytest.mark.root


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(trial: Trial, case: Case) -> None:
    deviations = trial.deviations(case)
    unexplained = [deviation for deviation in deviations if explain(case, deviation) is None]
    if unexplained:
        pytest.fail(f"{len(unexplained)} unexplained:\n" + "\n".join(map(str, unexplained)), pytrace=False)
    shown = {known.name for deviation in deviations if (known := explain(case, deviation))}
    expected = {known.name for known in DIFFERENCES if case.name in known.cases}
    assert expected <= shown, f"explained, but no longer so: {expected - shown}"


def test_every_general_explanation_is_needed(trial: Trial) -> None:
    """Explanations that name cases are looked for in each of those; the others must occur somewhere."""
    shown = set()
    for case in CASES:
        shown |= {known.name for deviation in trial.deviations(case) if (known := explain(case, deviation))}
    assert {known.name for known in DIFFERENCES} <= shown


def test_the_table_is_large_and_its_names_are_unique() -> None:
    names = {case.name for case in CASES}
    assert len(names) == len(CASES) >= 150


def test_explanations_name_cases_that_exist() -> None:
    names = {case.name for case in CASES}
    named = {name for known in DIFFERENCES for name in known.cases if not set("*?[") & set(name)}
    assert named <= names
