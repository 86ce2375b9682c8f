"""What the executables have for `os` is enough, and does what the real one does."""

import ast
import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

from dist.conftest import ROOT

PARTS = ("cni", "netlink", "netfilter", "resource", "bridge", "runtime", "hook")
HOT_PATH = [ROOT / "plugins" / "shibafu" / part for part in PARTS] + [ROOT / "ipam" / "shibafu_ipam"]


@pytest.fixture(scope="module")
def lean() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lean_os", ROOT / "packaging" / "freeze" / "lean_os.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find_uses() -> set[str]:
    """Return `open`, `path.isfile`, ... for each os.open, os.path.isfile, ... in the sources."""
    uses = set()
    for directory in HOT_PATH:
        assert directory.is_dir()
        for source in directory.rglob("*.py"):
            for node in ast.walk(ast.parse(source.read_text())):
                if isinstance(node, ast.Attribute):
                    module, _, name = ast.unparse(node).partition(".")
                    if module == "os" and name.removeprefix("path.").isidentifier():
                        uses.add(name)
    # Python 3.12 and later have setns; where it is missing, the C library's is used.
    return {name for name in uses if name != "setns" or hasattr(os, name)}


@pytest.mark.parametrize("name", sorted(find_uses()))
def test_has_what_the_sources_use(lean: ModuleType, name: str) -> None:
    value: object = lean
    for part in name.split("."):
        assert hasattr(value, part), f"os.{name} is used, and packaging/freeze/lean_os.py lacks it"
        value = getattr(value, part)


def test_environment(lean: ModuleType) -> None:
    real = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    assert real.items() <= lean.environ.items()


@pytest.mark.parametrize("name", ["/", "a", "/a", "a/b", "/a/b/", "//a", "a//b", ""])
def test_dirname(lean: ModuleType, name: str) -> None:
    assert lean.path.dirname(name) == os.path.dirname(name)


def test_kinds_and_resolution(lean: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "file").write_text("")
    (tmp_path / "link").symlink_to("d/file")
    (tmp_path / "absolute").symlink_to(tmp_path / "d")
    (tmp_path / "up").symlink_to("d/e/..")
    (tmp_path / "nowhere").symlink_to("missing/x")
    monkeypatch.chdir(tmp_path)
    names = ["d", "d/file", "link", "absolute/e", "up/file", "nowhere", "missing", ".", "d/../link", "d/x/y"]
    for name in [*names, *(f"{tmp_path}/{name}" for name in names), "/", "/proc/self/exe"]:
        for function in ("isfile", "isdir", "lexists", "realpath"):
            assert getattr(lean.path, function)(name) == getattr(os.path, function)(name), (function, name)


def test_makedirs(lean: ModuleType, tmp_path: Path) -> None:
    lean.makedirs(f"{tmp_path}/a/b/c", 0o700)
    assert (tmp_path / "a/b/c").stat().st_mode & 0o777 == 0o700
    lean.makedirs(f"{tmp_path}/a/b/c", exist_ok=True)
    with pytest.raises(FileExistsError):
        lean.makedirs(f"{tmp_path}/a/b/c")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        lean.makedirs(f"{tmp_path}/file", exist_ok=True)


def test_the_bundle_has_it(built: Path) -> None:
    from dist.test_contents import read_bundle

    assert read_bundle(built)["os"].co_filename == "os.py"
