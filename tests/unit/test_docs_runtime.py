"""docs/runtime.md names what the library has."""

import re
from importlib import import_module
from inspect import isclass
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs/runtime.md").read_text()
MODULES = re.findall(r"^\| `(shibafu\.runtime\.\w+)` \| (.+) \|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("name", "contents"), MODULES, ids=[name for name, _ in MODULES])
def test_library(name: str, contents: str) -> None:
    present = vars(import_module(name))
    methods = {method for one in present.values() if isclass(one) for method in vars(one)}
    assert set(re.findall(r"`(\w+)`", contents)) <= present.keys() | methods
