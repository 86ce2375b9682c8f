"""What packaging/freeze makes of modules is imported as they are themselves."""

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from support.built import ROOT

SOURCES = {
    "frozen/__init__.py": '"""A package."""\nC = 3\n',
    "frozen/one.py": "A = 1\n_B = 2\n",
    "frozen/inner/__init__.py": "",
    "frozen/inner/failing.py": "from frozen import inner\nimport frozen.inner.broken\n",
    "frozen/inner/broken.py": "raise OSError\n",
    "frozen/inner/types.py": "",
    "frozen/inner/two.py": (
        "TYPE_CHECKING = False\n"
        "if TYPE_CHECKING:\n"
        "    from frozen.inner import types\n"
        "from frozen import C, one\n"
        "from frozen.one import A, _B as B\n"
        "D = A + B + C + one.A\n"
        "def fail():\n"
        '    """Fail."""\n'
        "    assert False\n"
        "    from frozen.one import missing\n"
    ),
}


def load(name: str) -> ModuleType:
    """Import a file of packaging/freeze, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "packaging" / "freeze" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A bundle of `SOURCES` that modules are imported from."""
    sources = {}
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        sources[name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")] = str(path)
    bundle = tmp_path / "bundle"
    bundle.write_bytes(load("bundle").make_bundle(sources))
    monkeypatch.setattr(sys, "meta_path", [load("entry").BundleImporter(str(bundle)), *sys.meta_path])
    yield bundle
    for name in sources:
        sys.modules.pop(name, None)


def test_modules_have_what_they_import(bundle: Path) -> None:
    two = importlib.import_module("frozen.inner.two")
    assert (two.A, two.B, two.C, two.D) == (1, 2, 3, 7)
    frozen = sys.modules["frozen"]
    assert frozen.inner.two is two
    assert frozen.one is two.one is sys.modules["frozen.one"]
    assert "frozen.inner.types" not in sys.modules
    assert two.__package__ == "frozen.inner"
    assert frozen.__doc__ is None
    assert importlib.util.find_spec("frozen.three") is None
    with pytest.raises(ModuleNotFoundError, match=r"frozen\.three"):
        importlib.import_module("frozen.three")


def test_errors_are_those_of_the_source(bundle: Path) -> None:
    two = importlib.import_module("frozen.inner.two")
    with pytest.raises(ImportError, match=r"cannot import name 'missing' from 'frozen\.one'") as error:
        two.fail()
    frame = traceback.extract_tb(error.value.__traceback__)[-1]
    lines = SOURCES["frozen/inner/two.py"].splitlines()
    assert (frame.filename, lines[(frame.lineno or 0) - 1].strip()) == (
        "frozen/inner/two.py",
        "from frozen.one import missing",
    )


def test_what_fails_can_be_imported_again(bundle: Path) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match=r"^$"):
            importlib.import_module("frozen.inner.failing")
        assert "frozen.inner" in sys.modules
        assert "frozen.inner.broken" not in sys.modules


def test_all_modules_can_be_listed(bundle: Path) -> None:
    files = [name.removesuffix(".py").removesuffix("/__init__") for name in SOURCES]
    assert sorted(sys.meta_path[0].modules) == sorted(file.replace("/", ".") for file in files)  # type: ignore[attr-defined]


def test_it_is_found_again_after_the_program_closed_all_files(bundle: Path) -> None:
    """Nothing stays open between two imports: what a caller has closed is not taken for the bundle."""
    opened = set(Path("/proc/self/fd").iterdir())
    importlib.import_module("frozen.one")
    assert set(Path("/proc/self/fd").iterdir()) == opened
