"""Which tests need root, and where the plugins are that are tested."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.engine import Engine, assert_served, copy_executables, tally
from support.machine import Machine
from support.namespaces import Namespace
from support.suite import Suite
from support.traffic import Outside

HERE = Path(__file__).parent
# Its assertions show what they compared, as those of tests do.
pytest.register_assert_rewrite("support.remains")
# How long an example takes to make, or to be tried, says how busy the machine is.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--suite",
        metavar="DIRECTORY",
        help="test the executables in this directory, such as dist/shibafu, in place of the sources",
    )
    parser.addoption(
        "--engine", action="store_true", help="with --suite: have a resident engine do their calls"
    )
    parser.addoption("--long", action="store_true", help="run what takes longer than the suite should, too")


def pytest_configure() -> None:
    """Let tests end processes by signals: a shell has background jobs ignore SIGINT, and nohup SIGHUP."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what makes network namespaces when that is not allowed, and leave out what takes long."""
    if not config.getoption("--long"):
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    for item in items:
        if item.path.is_relative_to(HERE / "netns"):
            item.add_marker("root")
        if os.geteuid() and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def suite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """The plugins, as a runtime finds them: executables in a directory."""
    built = request.config.getoption("--suite")
    directory = tmp_path_factory.mktemp("cni-bin")
    if not request.config.getoption("--engine"):
        yield Suite.of_executables(directory, Path(built)) if built else Suite.of_sources(directory)
        return
    # A copy of the executables has an engine of its own.
    home = copy_executables(Path(built), tmp_path_factory.mktemp("engine") / "shibafu")
    with Engine(home, is_trained=True) as engine:
        suite = Suite.of_executables(directory, home)
        suite.has_engine = True
        yield suite
        assert_served(tally(engine.read_status()))


@pytest.fixture
def machine(suite: Suite, tmp_path: Path) -> Iterator[Machine]:
    """A host of its own, on which the plugins are called, and its containers."""
    with Namespace("host") as host:
        made = Machine(suite, host, tmp_path)
        yield made
        made.close()


@pytest.fixture
def outside(machine: Machine) -> Iterator[Outside]:
    """What is beyond the machine's uplink."""
    made = Outside(machine.host)
    yield made
    made.close()
