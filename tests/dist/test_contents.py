"""What is in the build, and that it is the same in every build."""

import ast
import importlib.util
import marshal
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from json import loads
from pathlib import Path
from types import CodeType
from typing import Any, TypeGuard
from zipfile import ZipFile

import pytest

from shibafu.engine.imports import list_calls
from shibafu.engine.programs import RESIDENT, SERVED
from support.built import ROOT

# What nobody would miss in the command before it fails.
COMMAND_LACKS = {"lib2to3", "pydoc", "setuptools", "test", "tkinter"}
# Bytes of a launcher that say where it is; see packaging/freeze/launcher.c.
_PLACE = 512
# Prints the modules of an executable's archive, and the file names that their code states.
LIST_ARCHIVE = """
import json, sys
from PyInstaller.archive.readers import CArchiveReader
archive = CArchiveReader(sys.argv[1]).open_embedded_archive("PYZ.pyz")
print(json.dumps({name: archive.extract(name).co_filename for name in archive.toc}))
"""

# Imports the modules, and the names out of them, that are in its input; prints the lines that fail.
TRY_IMPORTS = """
import sys
from entry import BundleImporter
sys.meta_path.insert(0, BundleImporter(f"{sys.path[0]}/shibafu.bundle"))
for line in sys.stdin:
    module, *names = line.split()
    try:
        imported = __import__(module, fromlist=names)
        for name in names:
            getattr(imported, name)
    except (ImportError, AttributeError):
        print(line, end="")
"""
# What modules import of several, of which one is enough.
ALTERNATIVES = {
    "shibafu.lean.json": [{"_json"}, {"json", "json.encoder"}],
    "shibafu.cni.names": [{"_blake2"}, {"hashlib"}],
    "shibafu.bridge.compat.reference": [{"_sha2"}, {"_sha512"}, {"hashlib"}],
    "shibafu.netlink.libc": [{"_ctypes"}, {"ctypes"}],
}


def list_files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


def read_bundle(built: Path) -> dict[str, CodeType]:
    """Read the bundle, which packaging/freeze/bundle.py describes."""
    content = (built / "_internal" / "shibafu.bundle").read_bytes()
    start = 4 + int.from_bytes(content[:4], "little")
    packs, index = marshal.loads(content[4:start])  # noqa: S302 - just built

    def read(place: tuple[int, int]) -> Any:
        return marshal.loads(content[start + place[0] : start + sum(place)])  # noqa: S302

    modules = {name: read(place) for name, place in read(index).items()}
    for call, packages in packs.items():
        pack = {name: module for place in packages.values() for name, module in read(place).items()}
        assert pack == {name: modules.get(name) for name in list_calls()[call]}
    assert packs.keys() == list_calls().keys()
    return {name: code for name, (_, _, code) in modules.items()}


def is_of_version(test: ast.expr) -> TypeGuard[ast.Compare]:
    """Return whether a condition is `sys.version_info >= (3, ...)`."""
    return ast.unparse(test).startswith("sys.version_info >= ")


def find_imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what a source file imports when it runs, anywhere in it: a module, and a name of it or none."""

    def visit(node: ast.AST) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.If) and is_of_version(node.test):
            # The interpreter of the executables is of the release that runs this.
            wanted = sys.version_info >= ast.literal_eval(node.test.comparators[0])
            for statement in node.body if wanted else node.orelse:
                yield from visit(statement)
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names if alias.name != "*"]
            yield from ((str(node.module), name) for name in names or [""])
        for inner in ast.iter_child_nodes(node):
            yield from visit(inner)

    return visit(ast.parse(path.read_text()))


PROGRAMS = sorted(SERVED | RESIDENT)


def test_programs_and_what_they_share(built: Path) -> None:
    assert {path.name for path in built.iterdir()} == {
        "_internal",
        "completions",
        "shibafu",
        *PROGRAMS,
    }
    assert {path.name for path in (built / "completions").iterdir()} == {
        "_shibafu",
        "shibafu",
        "shibafu.fish",
    }
    internal = built / "_internal"
    files = {re.sub(r"-[\d.]+\.dist-info", "", name) for name in list_files(internal)}
    assert {name for name in files if ".so" not in name} == {
        *(f"cold/{name}" for name in PROGRAMS),
        "base_library.zip",
        "build-id",
        "certifi/cacert.pem",
        "debtcollector/METADATA",
        "encodings/__init__.pyc",
        "encodings/aliases.pyc",
        "encodings/utf_8.pyc",
        "entry.pyc",
        "launcher",
        "python3",
        "python3._pth",
        "replaced",
        "served",
        "shibafu.bundle",
    }
    # Besides C modules. OpenSSL of Debian 13 needs libzstd.
    libraries = {path.name.partition(".so")[0] for path in internal.glob("lib*.so*")} - {"libzstd"}
    assert {name for name in libraries if not name.startswith("libpython3.")} == {
        "libcrypto",
        "libexpat",
        "libffi",
        "libsqlite3",
        "libssl",
        "libuuid",
        "libz",
    }


def is_own(module: str) -> bool:
    """Return whether a module is the suite's."""
    return module.partition(".")[0] in ("shibafu", "shibafu_ipam")


def test_bundle_has_the_suite_and_little_else(built: Path) -> None:
    others = {name.partition(".")[0] for name in read_bundle(built) if not is_own(name)}
    expressions = "re collections copyreg enum functools keyword operator reprlib types"
    assert others == {"struct", *expressions.split()}


def test_bundle_has_every_module_of_the_suite_that_is_imported(built: Path) -> None:
    bundle = read_bundle(built)

    def imported(code: CodeType) -> set[str]:
        inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        constants = {constant for constant in code.co_consts if isinstance(constant, str)}
        return constants.union(code.co_names, *map(imported, inner))

    named = {name for code in bundle.values() for name in imported(code)}
    assert {name for name in named if name.startswith(("shibafu.", "shibafu_ipam."))} <= bundle.keys()


def find_source(name: str) -> Path:
    """Return the source of a module that the plugins' executables have."""
    for root in (ROOT / "plugins", ROOT / "ipam"):
        path = root / name.replace(".", "/")
        for source in (path.with_suffix(".py"), path / "__init__.py"):
            if source.exists():
                return source
    spec = importlib.util.find_spec(name)
    assert spec is not None
    return Path(str(spec.origin))


def find_failing(built: Path, program: Path, imports: set[tuple[str, str]]) -> set[str]:
    """Return the modules that the plugins' executables cannot import, or lack the name of."""
    program.write_text(TRY_IMPORTS)
    done = subprocess.run(
        [built / "_internal" / "python3", "-ISXutf8", program],
        input="".join(f"{module} {name}\n" for module, name in sorted(imports)),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return {line.split()[0] for line in done.stdout.splitlines()}


def test_whatever_a_verb_may_import_is_there(built: Path, tmp_path: Path) -> None:
    # Modules of the standard library import others in functions that nobody of the suite calls.
    modules = [module for module in read_bundle(built) if is_own(module)]
    imports = {module: set(find_imports(find_source(module))) for module in modules}
    failing = find_failing(built, tmp_path / "program", set().union(*imports.values()))
    for module, names in imports.items():
        wanted = {name for name, _ in names}
        choices = ALTERNATIVES.get(module, [])
        if any(choice <= wanted - failing for choice in choices):
            wanted = wanted.difference(*choices)
        assert wanted & failing == set(), module


def test_the_interpreter_finds_its_libraries_beside_it(built: Path) -> None:
    """The machine that it runs on need not have them; what every machine has is the C library."""
    done = subprocess.run(
        ["/usr/bin/ldd", built / "_internal" / "python3"], capture_output=True, text=True, check=True
    )
    found = {line.split()[0]: line.split()[2] for line in done.stdout.splitlines() if "=>" in line}
    of_system = {name for name, path in found.items() if Path(path).parent != built / "_internal"}
    assert of_system <= {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libutil.so.1"}


def test_code_is_optimised_and_knows_no_path_of_the_builder(built: Path) -> None:
    for name, code in read_bundle(built).items():
        assert not code.co_filename.startswith("/")
        if is_own(name):
            assert "__doc__" not in code.co_names, f"{name} has a docstring"


@pytest.fixture(scope="module")
def archive(built: Path) -> dict[str, str]:
    """The modules inside the command's executable, and their file names."""
    python = ROOT / ".venv-build" / "bin" / "python"
    done = subprocess.run(
        [python, "-c", LIST_ARCHIVE, built / "shibafu"], capture_output=True, check=True, timeout=60
    )
    names: dict[str, str] = loads(done.stdout)
    return names


def test_the_command_has_every_module_that_it_imports(built: Path, archive: dict[str, str]) -> None:
    """Nothing that packaging/freeze/shibafu.spec leaves out of libraries is imported by the suite itself."""
    internal = built / "_internal"
    paths = (path.relative_to(internal) for path in internal.rglob("*.so"))
    extensions = {".".join((*path.parent.parts, path.name.partition(".")[0])) for path in paths}
    with ZipFile(internal / "base_library.zip") as base:
        names = {name.removesuffix(".pyc").removesuffix("/__init__") for name in base.namelist()}
    files = {name.replace("/", ".") for name in names}
    # The bootstrap, which reads the archive, has struct.
    there = archive.keys() | extensions | files | set(sys.builtin_module_names) | {"struct"}
    # Another name of this one, since Python 3.13 not a file of its own.
    if "_collections_abc" in there:
        there.add("collections.abc")
    plugins = ROOT / "plugins"
    assert archive.keys() >= {
        ".".join(source.relative_to(plugins).with_suffix("").parts).removesuffix(".__init__")
        for part in ("cli", "networks")
        for source in (plugins / "shibafu" / part).rglob("*.py")
    }
    sources = [root / path for path in archive.values() for root in (plugins, ROOT / "ipam")]
    ours = [source for source in sources if source.exists()]
    assert len(ours) > 90
    for source in ours:
        assert {module for module, _ in find_imports(source)} <= there, source


def test_the_command_has_nothing_that_it_does_without(archive: dict[str, str]) -> None:
    assert {name.partition(".")[0] for name in archive} & COMMAND_LACKS == set()
    assert not any(path.startswith("/") for path in archive.values())


def test_libraries_are_those_of_the_tests() -> None:
    def read(name: str) -> set[str]:
        lines = (ROOT / name).read_text().splitlines()
        return {line.split()[0] for line in lines if "==" in line}

    built_with = read("packaging/requirements-build.txt")
    libraries = ("etcd3gw", "filelock", "pyroute2", "pyyaml", "requests", "urllib3")
    tested_with = {line for line in read("tests/requirements.txt") if line.partition("==")[0] in libraries}
    assert len(tested_with) == len(libraries)
    assert tested_with <= built_with


@pytest.mark.long
def test_two_builds_are_the_same(built: Path, tmp_path: Path) -> None:
    """Another folder, another hash seed, another umask; only executables say where the folder is."""
    tree = tmp_path / "elsewhere"
    for name in ("plugins", "ipam", "packaging"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / ".venv-build").symlink_to(ROOT / ".venv-build")
    output = tmp_path / "output"
    script = 'umask 077; PYTHONHASHSEED=7 PYTHONOPTIMIZE=1 exec "$0" "$1"'
    command = ["/bin/bash", "-c", script, str(tree / "packaging" / "build.sh"), str(output)]
    subprocess.run(command, check=True, timeout=300)

    def digest(path: Path) -> tuple[int, str]:
        content = path.read_bytes()
        if content.startswith(b"#!"):
            # Names the folder that it is in.
            assert content.startswith(f"#!{path.parent}/_internal/python3 ".encode())
            content = content.partition(b"\n")[2]
        elif path.name in PROGRAMS and path.parent.name == "shibafu":
            before, place, after = content.partition(f"{path.parent}\n{path.name}\n".encode())
            assert place
            content = before + after[_PLACE - len(place) :]
        return path.stat().st_mode, sha256(content).hexdigest()

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
