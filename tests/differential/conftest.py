"""Runs cases with both suites, each in its own process, ahead of the tests that look at them."""

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from differential.case import Case
from differential.comparison import Deviation, compare
from differential.laboratory import enter_machine, run_case
from differential.table import CASES
from shibafu.engine.programs import REPLACED
from support.suite import Suite

REFERENCE = Path("/usr/lib/cni")  # Debian's containernetworking-plugins

_Outcome = Future[dict[str, str]]


class Trial:
    """The outcomes of cases.

    Args:
        reference: the reference's plugins.
        ours: the plugins in their place; the rest are the reference's.
        roots: of the sources that ours start; none if they were built.
    """

    def __init__(self, reference: dict[str, str], ours: dict[str, str], roots: tuple[Path, ...]) -> None:
        spawn = get_context("spawn")
        self._machines = [
            ProcessPoolExecutor(1, spawn, enter_machine, (plugins,))
            for plugins in (reference, reference | ours)
        ]
        self._roots = roots
        self._outcomes: dict[str, tuple[_Outcome, _Outcome]] = {}

    def start(self, case: Case) -> None:
        """Begin to run a case, after those that were begun before."""
        if case.name not in self._outcomes:
            reference, ours = self._machines
            self._outcomes[case.name] = (
                reference.submit(run_case, case, is_reference=True),
                ours.submit(run_case, case, is_reference=False, roots=self._roots),
            )

    def deviations(self, case: Case) -> list[Deviation]:
        """Return how our outcome deviates from the reference's."""
        self.start(case)
        reference, ours = self._outcomes[case.name]
        return compare(case, reference.result(), ours.result())

    def ours(self, case: Case) -> dict[str, str]:
        """Return our outcome."""
        self.start(case)
        return self._outcomes[case.name][1].result()

    def close(self) -> None:
        """End both processes."""
        for machine in self._machines:
            machine.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def trial(request: pytest.FixtureRequest, suite: Suite) -> Iterator[Trial]:
    """All cases that were selected, running."""
    reference = {path.name: str(path) for path in REFERENCE.iterdir()}
    ours = {name: str(suite.directory / name) for name in REPLACED.values()}
    made = Trial(reference, ours, suite.warm.roots if suite.warm else ())
    selected = {item.name for item in request.session.items}
    for case in CASES:
        if f"test_case[{case.name}]" in selected:
            made.start(case)
    yield made
    made.close()
