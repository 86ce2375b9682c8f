"""What packaging/freeze makes of modules is imported as they are themselves."""

import importlib.util
import posix
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


# What a call imports, of these and others.
CALLS = {"call": {"frozen", "frozen.one", "frozen.inner", "frozen.inner.two", "_json"}, "main": {"frozen"}}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of `SOURCES`."""
    sources = {}
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        sources[name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")] = str(path)
    bundle = tmp_path / "bundle"
    bundle.write_bytes(load("bundle").make_bundle(sources, CALLS))
    return bundle


@pytest.fixture(params=[(), ("call", "main"), ("another", "main")], ids=["index", "packs", "both"])
def importer(
    bundle: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[object]:
    """What imports modules of the bundle, by its index, by the packs of a call, or some by these."""
    importer = load("entry").BundleImporter(str(bundle), *request.param)
    monkeypatch.setattr(sys, "meta_path", [importer, *sys.meta_path])
    yield importer
    for name in importer.modules:
        sys.modules.pop(name, None)


def test_modules_have_what_they_import(importer: object) -> None:
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


def test_errors_are_those_of_the_source(importer: object) -> None:
    two = importlib.import_module("frozen.inner.two")
    with pytest.raises(ImportError, match=r"cannot import name 'missing' from 'frozen\.one'") as error:
        two.fail()
    frame = traceback.extract_tb(error.value.__traceback__)[-1]
    lines = SOURCES["frozen/inner/two.py"].splitlines()
    assert (frame.filename, lines[(frame.lineno or 0) - 1].strip()) == (
        "frozen/inner/two.py",
        "from frozen.one import missing",
    )


def test_what_fails_can_be_imported_again(importer: object) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match=r"^$"):
            importlib.import_module("frozen.inner.failing")
        assert "frozen.inner" in sys.modules
        assert "frozen.inner.broken" not in sys.modules


def test_all_modules_can_be_listed(bundle: Path) -> None:
    importer = load("entry").BundleImporter(str(bundle), "call")
    files = [name.removesuffix(".py").removesuffix("/__init__") for name in SOURCES]
    assert sorted(importer.modules) == sorted(file.replace("/", ".") for file in files)


def test_it_is_found_again_after_the_program_closed_all_files(importer: object) -> None:
    """Nothing stays open between two imports: what a caller has closed is not taken for the bundle."""
    opened = set(Path("/proc/self/fd").iterdir())
    importlib.import_module("frozen.one")
    assert set(Path("/proc/self/fd").iterdir()) == opened


def test_a_call_reads_what_it_needs_at_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One read for each package that it imports from, and none for what is known not to be in the bundle."""
    importer = load("entry").BundleImporter(str(bundle), "call", "main")
    places = []
    pread = posix.pread

    def read(descriptor: int, size: int, offset: int) -> bytes:
        places.append(offset)
        return pread(descriptor, size, offset)

    monkeypatch.setattr(posix, "pread", read)
    assert importer.find_spec("_json") is None
    for name in ("frozen", "frozen.one", "frozen.inner", "frozen.inner.two"):
        assert importer.find_spec(name).loader is importer
    assert len(places) == 3
    # By the index, which is read now.
    assert importer.find_spec("frozen.inner.types").loader is importer
    assert importer.find_spec("struct") is None
    assert len(places) == 5
