"""docs/compatibility.md says what the table says, and the table has all that the plugins read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from differential.compatibility import KEYS, find_keys, write
from differential.differences import DIFFERENCES
from differential.keys import Key
from differential.table import CASES

ROOT = Path(__file__).parents[2]
# The methods of shibafu.cni.config.Section that read a key.
_READERS = ("text", "flag", "number", "unsigned", "section", "sections", "texts", "array")
# Where the plugins read their configuration.
_SOURCES = (
    *(f"plugins/shibafu/{plugin}" for plugin in ("bandwidth", "bridge", "firewall", "portmap", "tuning")),
    "plugins/shibafu/cni/request.py",
    "ipam/shibafu_ipam",
)
# What is only a place for others.
_PLACES = {"args", "cni", "runtimeConfig"}


def _find_read_keys() -> Iterator[str]:
    """Find the calls of the readers with a constant: `config.text("bridge")`."""
    for source in _SOURCES:
        path = ROOT / source
        for module in path.rglob("*.py") if path.is_dir() else [path]:
            for node in ast.walk(ast.parse(module.read_text())):
                match node:
                    case ast.Call(ast.Attribute(attr=reader), [ast.Constant(str(key)), *_]):
                        if reader in _READERS:
                            yield key


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs/compatibility.md").read_text()
    assert page == write(), "cd tests && python3 -m differential.compatibility > ../docs/compatibility.md"


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_each_key_has_a_case(key: Key) -> None:
    assert key.name in {name for case in CASES for name in find_keys(case)}


def test_all_keys_that_are_read_are_listed() -> None:
    listed = {key.name.rpartition(".")[2] for key in KEYS}
    assert set(_find_read_keys()) - _PLACES <= listed


def test_keys_name_differences_that_exist() -> None:
    named = {name for key in KEYS for name in key.differences}
    assert named <= {difference.name for difference in DIFFERENCES}
