"""A call of shibafu-overlay that is killed, at any instant: what comes next leaves nothing."""

import pytest

from netns.overlay_pair import PairedHost
from support.killed_calls import REMEDIES, assert_clean, call_and_kill, find_steps, remedy

pytestmark = [pytest.mark.root, pytest.mark.long]


@pytest.mark.parametrize("has_subnet", [True, False], ids=["with subnet file", "without"])
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_every_step(node: PairedHost, command: str, has_subnet: bool) -> None:
    """Without the file, once it is killed: the host restarts, and the agent is not there yet."""
    config = node.overlay()
    before = node.snapshot()
    if command == "DEL":
        node.add(config)
    steps = find_steps(node, command, config)
    node.delete(config)
    assert len(steps) >= 10
    killed = 0
    # What tries ADD again needs the file.
    remedies = [kind for kind in REMEDIES if has_subnet or kind != "ADD"]
    for number, step in enumerate(steps):
        if command == "DEL":
            node.add(config)
        killed += call_and_kill(node, command, config, step)
        if not has_subnet:
            node.subnet_file.unlink()
        remedy(node, config, remedies[number % len(remedies)])
        node.write_subnet_file()
        assert node.sent() == [], step
        assert_clean(node, before)
    assert killed > len(steps) // 2
