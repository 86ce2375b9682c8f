"""Fixtures of the tests with real network namespaces."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.blue_network import BlueNetwork
from netns.overlay_lab import OverlayLab, Pair
from netns.overlay_pair import PairedHost, connect_hosts
from netns.policy_machine import LabelledContainers, apply
from netns.replacement import Replacement
from support.command import CommandLine
from support.machine import Machine
from support.namespaces import Namespace
from support.suite import Suite


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.root)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
def host() -> Iterator[Namespace]:
    """Stand in for the host's namespace, so that nothing happens to the machine's own."""
    with Namespace("host") as namespace:
        yield namespace


@pytest.fixture
def container() -> Iterator[Namespace]:
    with Namespace("container") as namespace:
        yield namespace


@pytest.fixture
def web() -> Iterator[Namespace]:
    """Another container, for people to name."""
    with Namespace("web") as namespace:
        yield namespace


@pytest.fixture
def blue(shibafu: CommandLine) -> None:
    """Have the command configure the network `blue`."""
    shibafu("network create blue --subnet 10.66.0.0/24")


@pytest.fixture
def shibafu(suite: Suite, host: Namespace, tmp_path: Path) -> Iterator[CommandLine]:
    """The command `shibafu` on the host, with directories of its own."""
    with CommandLine(suite, host, tmp_path) as command:
        yield command


@pytest.fixture(params=[False, True], ids=["other inode", "same inode"])
def replacement(request: pytest.FixtureRequest) -> Replacement:
    return Replacement(request.param)


@pytest.fixture
def network(shibafu: CommandLine, host: Namespace, web: Namespace) -> Iterator[BlueNetwork]:
    """Network `blue`, which the test has to create."""
    with Namespace("db") as db:
        yield BlueNetwork(shibafu, host, web, db)


@pytest.fixture
def cluster(machine: Machine) -> Iterator[LabelledContainers]:
    """Containers that policies are for; in the end there are no policies."""
    yield LabelledContainers(machine)
    apply(machine)


@pytest.fixture
def node(suite: Suite, tmp_path: Path) -> Iterator[PairedHost]:
    """A host of an overlay that has a subnet, alone."""
    with Namespace("host") as namespace:
        made = PairedHost(suite, namespace, tmp_path / "one", 1)
        yield made
        made.close()


@pytest.fixture
def peer(node: PairedHost, tmp_path: Path) -> Iterator[PairedHost]:
    """Another one, connected with it."""
    with Namespace("peer") as namespace:
        made = PairedHost(node.suite, namespace, tmp_path / "two", 2)
        connect_hosts(node, made)
        yield made
        made.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[OverlayLab]:
    """Two hosts of an overlay, each with an agent that has joined."""
    with OverlayLab(tmp_path, 2) as made:
        made.start()
        yield made


@pytest.fixture
def pair(lab: OverlayLab) -> Pair:
    """Their containers, connected."""
    first, second = lab.hosts
    container, _ = first.attach(), second.attach()
    container.run("ping", "-c1", "-w5", second.calc_container())
    return first, second, container
