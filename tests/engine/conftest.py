"""Fixtures of the tests of the resident engine, which is always that of a copy of the executables."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.built import build
from support.engine import Engine, copy_executables
from support.ipam_calls import Ipam
from support.suite import Suite


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder of the executables."""
    return build()


@pytest.fixture(scope="session")
def home(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the executables whose engine is `engine`, or none where a test does not ask for it."""
    return copy_executables(built, tmp_path_factory.mktemp("engine") / "shibafu")


@pytest.fixture(scope="session")
def shared_engine(home: Path) -> Iterator[Engine]:
    with Engine(home) as engine:
        yield engine


@pytest.fixture
def engine(shared_engine: Engine) -> Engine:
    """An engine that other tests have used, and will."""
    return shared_engine


@pytest.fixture
def own_home(built: Path, tmp_path: Path) -> Path:
    """A folder of executables that no engine runs for."""
    return copy_executables(built, tmp_path / "shibafu")


@pytest.fixture
def own_engine(own_home: Path) -> Iterator[Engine]:
    """An engine of the test's own, which it may break."""
    with Engine(own_home) as engine:
        yield engine


@pytest.fixture(scope="session")
def suite(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """The executables of `home`, as a runtime finds them."""
    return Suite.of_executables(tmp_path_factory.mktemp("cni-bin"), home)


@pytest.fixture
def ipam(home: Path, tmp_path: Path) -> Ipam:
    return Ipam(home / "shibafu-ipam", tmp_path / "networks")
