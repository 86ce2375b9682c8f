"""Tests make network namespaces in one way, which gives these the same sysctls on every host."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
# How programs, scripts and system calls make one; messages that quote the command are none.
_MAKES = re.compile(
    r"""(?<!`ip )netns["', ]+add\b"""
    r"""|unshare\b.*["' ](-[a-zA-Z]*n|--net)\b"""
    r"""|unshare\b.*(NEWNET|_NAMESPACES)"""
    r"""|0x40000000"""
)
# What makes them, and what needs one that is not like the others.
EXCEPTIONS = {
    "support/namespaces.py": "unshare, as `ip netns add` does it, and setns",
    "support/netns_add.sh": "the same for scripts",
    "support/warm_plugins_server.py": "setns alone: it makes none",
    "differential/laboratory.py": "gives them the sysctls itself: their names are a part of a case",
    "differential/table_ipam.py": "a container whose namespace has no links to look at",
    "e2e/machine.py": "init.sh, its first process, gives it the sysctls",
    "engine/test_served.py": "what an engine is started in, and leaves",
    "netns/test_replaced_netns.py": "a process that changes its own, as where its number is given out again",
    "netns/test_ipam_views.py": "a namespace of a process, without links to look at",
    "unit/test_namespaces_of_tests.py": "this",
}


def test_namespaces_are_made_in_one_way() -> None:
    files = [path for kind in ("*.py", "*.sh") for path in TESTS.rglob(kind)]
    makers = {str(path.relative_to(TESTS)) for path in files if _MAKES.search(path.read_text())}
    assert makers == set(EXCEPTIONS)
