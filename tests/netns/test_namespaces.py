"""Namespaces of tests start with the same sysctls on every host."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.namespaces import Namespace
from support.sysctls import CONF, read_sysctls, write_sysctls

TESTS = Path(__file__).parents[1]
SYSCTLS = {name: value for name, value in read_sysctls().items() if Path("/proc/sys", name).exists()}
# Another valid value for each that is in the file.
OTHER = {"0": "1", "1": "0", "64": "65", "-1": "2"}


def read_in(namespace: Namespace) -> dict[str, str]:
    with namespace.enter():
        return {name: Path("/proc/sys", name).read_text().strip() for name in SYSCTLS}


@pytest.fixture
def hostile() -> Iterator[Namespace]:
    """Return a namespace that has another value for each of them."""
    with Namespace("hostile") as namespace:
        with namespace.enter():
            for name, value in SYSCTLS.items():
                Path("/proc/sys", name).write_text(OTHER[value])
        assert {name for name, value in read_in(namespace).items() if value == SYSCTLS[name]} == set()
        yield namespace


def test_the_values_of_a_namespace_of_another_kind_are_replaced(hostile: Namespace) -> None:
    with hostile.enter():
        write_sysctls()
    assert read_in(hostile) == SYSCTLS


def test_machines_of_shell_scripts_have_the_same_values(hostile: Namespace) -> None:
    hostile.run("sysctl", "-eqp", str(CONF))
    assert read_in(hostile) == SYSCTLS


def test_the_values_around_a_new_namespace_do_not_matter(hostile: Namespace) -> None:
    with hostile.enter(), Namespace("new") as new:
        assert read_in(new) == SYSCTLS


def test_the_script_gives_new_namespaces_these_values(hostile: Namespace) -> None:
    new = Namespace("script")
    new.delete()
    with hostile.enter():
        subprocess.run([TESTS / "support/netns_add.sh", new.name], check=True)
    try:
        assert read_in(new) == SYSCTLS
        assert "state UNKNOWN" in new.run("ip", "link", "show", "up")
    finally:
        new.delete()
