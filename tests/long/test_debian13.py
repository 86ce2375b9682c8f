"""Debian 13, with Python 3.13: the executables are built there, and tried; it takes a quarter of an hour.

Besides what these tests run on this machine, too, nothing of it is touched: all of them are in namespaces.
"""

import os

import pytest

from long.debian import ROOT, Debian

# One after the other, of several workers.
pytestmark = [pytest.mark.long, pytest.mark.root, pytest.mark.xdist_group("debian13")]


@pytest.fixture(scope="module")
def debian() -> Debian:
    made = Debian("trixie", ROOT / "build" / "debian13")
    made.ensure()
    return made


def test_the_interpreter_is_another(debian: Debian) -> None:
    assert debian.check_run("dist/shibafu/_internal/python3", "-V").startswith("Python 3.13.")


def test_demo(debian: Debian) -> None:
    assert "All of it worked" in debian.check_run("packaging/demo.sh")


@pytest.mark.parametrize(
    "arguments",
    [
        # No systemd is in there.
        "tests/dist --ignore=tests/dist/test_engine_systemd.py --ignore=tests/dist/test_watch_systemd.py",
        # ADD, CHECK, DEL and GC; DEL of unknown containers; those that the reference attached.
        "--suite dist/shibafu tests/spec tests/netns/test_bridge_attach.py tests/netns/test_bridge_check.py "
        "tests/netns/test_bridge_delete.py tests/netns/test_bridge_gc.py tests/netns/test_bridge_takeover.py",
        # The sources, with that interpreter.
        "tests/unit tests/netns/test_bridge_import_budget.py tests/netns/test_netlink_namespace.py "
        "tests/netns/test_runtime_hook.py",
    ],
    ids=["executables", "verbs", "sources"],
)
def test_tests(debian: Debian, arguments: str) -> None:
    workers = str(os.cpu_count())
    done = debian.run(".venv/bin/pytest", "-q", "-n", workers, "--color=no", *arguments.split())
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1], done.stdout
