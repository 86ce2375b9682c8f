"""The specs of the reference's chained plugins, which Debian has in its source package, hold for ours.

It takes ten minutes: four specs of each bandwidth plugin measure one that is slow on purpose.
"""

import pytest

from differential.specs import SUITES, Specs, find_unmet
from long.reference_specs import ROOT, Runner
from support.suite import Suite

# One after the other, of several workers: they are compiled in one place.
pytestmark = [pytest.mark.long, pytest.mark.root, pytest.mark.xdist_group("specs")]
_DIRECTORY = ROOT / "build" / "specs"


@pytest.fixture(scope="module")
def for_reference() -> Runner:
    return Runner(_DIRECTORY, None)


@pytest.fixture(scope="module")
def for_ours(suite: Suite) -> Runner:
    return Runner(_DIRECTORY, suite.directory)


@pytest.mark.parametrize("specs", SUITES, ids=lambda specs: specs.plugin)
def test_hold_for_the_reference(for_reference: Runner, specs: Specs) -> None:
    outcome = for_reference.run(specs.plugin)
    assert (outcome.passed, outcome.failed) == (specs.specs, frozenset()), outcome.output


@pytest.mark.parametrize("specs", SUITES, ids=lambda specs: specs.plugin)
def test_hold_for_ours(for_ours: Runner, specs: Specs) -> None:
    outcome = for_ours.run(specs.plugin)
    known = find_unmet(specs.plugin)
    unexplained = {name for name in outcome.failed if not any(unmet.covers(name) for unmet in known)}
    assert not unexplained, outcome.output
    counts = [sum(unmet.covers(name) for name in outcome.failed) for unmet in known]
    assert counts == [unmet.count for unmet in known], "explained, but no longer so"
    assert outcome.passed + len(outcome.failed) == specs.specs - specs.inner
