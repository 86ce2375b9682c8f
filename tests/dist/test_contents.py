"""What is in the build, and that it is the same in every build."""

import marshal
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from types import CodeType

import pytest

from dist.conftest import ROOT
from netns.test_bridge_import_budget import calc_budget

Index = tuple[
    dict[str, int], list[tuple[int, int, tuple[int, ...]]], dict[str, tuple[int, ...]], dict[str, str]
]


def list_files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


def read_bundle(built: Path) -> dict[str, CodeType]:
    """Read the bundle in the way that packaging/entry.py does."""
    (modules, packs, _, _), content = read_index(built)
    code = {}
    for at, size, _ in packs:
        pack = iter(marshal.loads(content[at : at + size]))  # noqa: S302 - just built
        code.update({name: module for name, _, module in zip(pack, pack, pack, strict=True)})
    assert code.keys() == modules.keys()
    return code


def read_index(built: Path) -> "tuple[Index, bytes]":
    """Return the bundle's index, which packaging/bundle.py describes, and the packs."""
    content = (built / "_internal" / "shibafu.bundle").read_bytes()
    size = int.from_bytes(content[:4], "little")
    return marshal.loads(content[4 : 4 + size]), content[4 + size :]  # noqa: S302 - just built


def test_nothing_but_what_is_needed(built: Path) -> None:
    names = {name.split(".cpython-")[0].split(".so")[0] for name in list_files(built)}
    libpython = {name for name in names if name.startswith("_internal/libpython3.")}
    assert len(libpython) == 1
    assert names - libpython == {
        "shibafu-bridge",
        "shibafu-hook",
        "shibafu-ipam",
        "_internal/_ctypes",
        "_internal/_json",
        "_internal/encodings.pyc",
        "_internal/libexpat",
        "_internal/libffi",
        "_internal/libz",
        "_internal/shibafu.bundle",
    }


def test_bundle_has_the_suite_and_no_other_library(built: Path) -> None:
    packages = {name.partition(".")[0] for name in read_bundle(built)}
    assert packages == {"shibafu", "shibafu_ipam", "struct", "os"}


def test_bundle_has_every_module_of_the_suite_that_is_imported(built: Path) -> None:
    bundle = read_bundle(built)

    def imported(code: CodeType) -> set[str]:
        inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        constants = {constant for constant in code.co_consts if isinstance(constant, str)}
        return constants.union(code.co_names, *map(imported, inner))

    named = {name for code in bundle.values() for name in imported(code)}
    assert {name for name in named if name.startswith(("shibafu.", "shibafu_ipam."))} <= bundle.keys()


@pytest.mark.parametrize("verb", ["ADD", "CHECK", "DEL"])
def test_a_call_loads_what_it_imports_and_no_more(built: Path, verb: str) -> None:
    (modules, _, calls, _), _ = read_index(built)
    of_call = {f"{name} {verb}" for name in ("shibafu.bridge", "shibafu_ipam", "shibafu.bridge.masquerade")}
    packs = {number for call in of_call for number in calls[call]}
    loaded = {name for name, number in modules.items() if number in packs and name.startswith("shibafu")}
    assert loaded == {name for name in calc_budget(verb) if name.startswith("shibafu")}
    assert len(packs) < len(loaded) / 3


def test_code_is_optimised_and_knows_no_path_of_the_builder(built: Path) -> None:
    for name, code in read_bundle(built).items():
        assert not code.co_filename.startswith("/")
        if name != "struct":  # which fetches its docstring from _struct
            assert "__doc__" not in code.co_names, f"{name} has a docstring"


def test_two_builds_are_the_same(built: Path, tmp_path: Path) -> None:
    """Another folder, another hash seed, another umask."""
    tree = tmp_path / "elsewhere"
    for name in ("plugins", "ipam", "packaging"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / ".venv-build").symlink_to(ROOT / ".venv-build")
    output = tmp_path / "output"
    script = 'umask 077; PYTHONHASHSEED=7 PYTHONOPTIMIZE=1 exec "$0" "$1"'
    command = ["/bin/bash", "-c", script, str(tree / "packaging" / "build.sh"), str(output)]
    subprocess.run(command, check=True, timeout=60)

    def digest(path: Path) -> tuple[int, str]:
        return path.stat().st_mode, sha256(path.read_bytes()).hexdigest()

    def digests(directory: Path) -> dict[str, tuple[int, str]]:
        return {name: digest(directory / name) for name in list_files(directory)}

    assert digests(output / "shibafu") == digests(built)


def test_nothing_to_do_when_nothing_changed(built: Path) -> None:
    before = (built / "shibafu-bridge").stat()
    done = subprocess.run(
        [ROOT / "packaging" / "build.sh"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("unchanged ")
    assert len(done.stdout.splitlines()) == 1
    assert (built / "shibafu-bridge").stat() == before
