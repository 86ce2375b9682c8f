"""A call of shibafu-overlay that is killed, at any instant: what comes next leaves nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.overlay_pair import PairedHost
from support.killed_calls import REMEDIES, assert_clean, call_and_kill, find_steps, remedy
from support.namespaces import Namespace
from support.suite import Suite

pytestmark = [pytest.mark.root, pytest.mark.long]


@pytest.fixture
def host(suite: Suite, tmp_path: Path) -> Iterator[PairedHost]:
    with Namespace("host") as namespace:
        made = PairedHost(suite, namespace, tmp_path / "one", 1)
        yield made
        made.close()


@pytest.mark.parametrize("has_subnet", [True, False], ids=["with subnet file", "without"])
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_every_step(host: PairedHost, command: str, has_subnet: bool) -> None:
    """Without the file, once it is killed: the host restarts, and the agent is not there yet."""
    config = host.overlay()
    before = host.snapshot()
    if command == "DEL":
        host.add(config)
    steps = find_steps(host, command, config)
    host.delete(config)
    assert len(steps) >= 10
    killed = 0
    # What tries ADD again needs the file.
    remedies = [kind for kind in REMEDIES if has_subnet or kind != "ADD"]
    for number, step in enumerate(steps):
        if command == "DEL":
            host.add(config)
        killed += call_and_kill(host, command, config, step)
        if not has_subnet:
            host.subnet_file.unlink()
        remedy(host, config, remedies[number % len(remedies)])
        host.write_subnet_file()
        assert host.sent() == [], step
        assert_clean(host, before)
    assert killed > len(steps) // 2
