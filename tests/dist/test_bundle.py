"""How the bundle is made: what packaging/freeze/bundle.py makes of imports is what `import` does."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dist.conftest import ROOT

SOURCES = {
    "one": "A = 1\n_B = 2\n",
    "pack.__init__": "C = 3\n",
    "pack.two": "from one import A, _B as B\nfrom pack import C\nD = A + B + C\n",
    "three": (
        "import os\n"
        "import pack.two\n"
        "from errno import EEXIST, ENOENT as MISSING\n"
        "from os import *\n"
        "from os.path import join\n"
        "from pack import two\n"
        "from pack.two import (\n    B,\n    D,\n)\n"
        "try:\n    from one import missing\nexcept ImportError:\n    missing = None\n"
        "class Holder:\n    from one import A as inner\n"
        "def later() -> int:\n    from one import A\n    return A\n"
    ),
}


@pytest.fixture(scope="module")
def bundle() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bundle", ROOT / "packaging" / "freeze" / "bundle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, str]:
    paths = {}
    for name, text in SOURCES.items():
        path = tmp_path / f"{name}.py".replace(".__init__", "/__init__").replace("pack.two", "pack/two")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        paths[name.removesuffix(".__init__")] = str(path)
    return paths


def test_order(bundle: ModuleType, sources: dict[str, str]) -> None:
    assert bundle.calc_order(["pack.two"], sources) == ["pack", "one", "pack.two"]
    assert bundle.calc_order(["three"], sources) == ["pack", "one", "pack.two", "three"]


def test_linked_modules_have_the_names_that_they_import(
    bundle: ModuleType, sources: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    namespaces: dict[str, dict[str, object]] = {}
    for name in bundle.calc_order(["three"], sources):
        module = ModuleType(name)
        if bundle.is_package(sources[name]):
            module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
        namespaces[name] = module.__dict__
        namespaces[name]["__namespaces__"] = namespaces
        exec(bundle.compile_module(name, sources[name], sources), module.__dict__)  # noqa: S102
        package, _, child = name.rpartition(".")
        if package:
            setattr(sys.modules[package], child, module)

    plain: dict[str, object] = {}
    exec(bundle.compile_module("three", sources["three"]), plain)  # noqa: S102
    linked = {name: value for name, value in namespaces["three"].items() if not name.startswith("__")}
    ours = {"later", "Holder"}
    assert {k: v for k, v in linked.items() if k not in ours} == {
        name: value for name, value in plain.items() if not name.startswith("__") and name not in ours
    }
    assert linked["Holder"].inner == 1  # type: ignore[attr-defined]
    assert linked["later"]() == 1  # type: ignore[operator]


def test_modules_that_the_same_calls_need_are_together(bundle: ModuleType, sources: dict[str, str]) -> None:
    assert bundle.calc_packs([{"a": ["pack.two"], "b": ["one"]}], sources) == [
        ["one"],
        ["pack", "pack.two"],
        ["three"],
    ]
    assert bundle.calc_packs([{"a": ["one"]}, {"b": ["three"]}], sources) == [
        ["one"],
        ["pack", "pack.two", "three"],
    ]


def test_line_numbers_are_those_of_the_source(bundle: ModuleType, sources: dict[str, str]) -> None:
    code = bundle.compile_module("three", sources["three"], sources)
    function = next(c for c in code.co_consts if getattr(c, "co_name", "") == "later")
    assert SOURCES["three"].splitlines()[function.co_firstlineno - 1].startswith("def later")
