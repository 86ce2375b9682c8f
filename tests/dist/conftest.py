"""Fixtures of the tests of what packaging/ makes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.built import build
from support.engine import Engine, copy_executables, tally


@pytest.fixture(scope="session")
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the executables; with --engine, a copy that has an engine."""
    if not request.config.getoption("--engine"):
        yield build()
        return
    home = copy_executables(build(), tmp_path_factory.mktemp("engine") / "shibafu")
    with Engine(home, is_trained=True) as engine:
        yield home
        # Some of these tests are of calls that start cold.
        assert any(ended.startswith("served ") for ended in tally(engine.read_status()))


@pytest.fixture
def is_cold(request: pytest.FixtureRequest) -> None:
    """For tests that follow the process which they have started."""
    if request.config.getoption("--engine"):
        pytest.skip("another process does the call; see tests/engine/test_killed.py")
