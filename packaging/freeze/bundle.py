"""The bundle: one file with the code of all the modules of the plugins; entry.py imports from it.

What is in the file:

    4 bytes     the size of the head, little endian
    the head    of each call, where its packs are, by package; and where the index is
    modules     one after another: whether it is a package, what it imports, and its code
    the index   where the modules are, by name
    packs       what a call imports from one package, by name; None for a module that is not in the bundle

All but the first are marshalled. A place is an offset from the end of the head, and a size. A call reads and
unmarshals the modules of its packs together, and finds what else it imports by the index.
"""

import ast
import marshal
import os
from collections.abc import Container
from types import CodeType
from typing import Any


def is_package(source_path: str) -> bool:
    """Return whether a source file is that of a package rather than of a module."""
    return os.path.basename(source_path) == "__init__.py"


def calc_file_name(name: str, source_path: str) -> str:
    """Return a module's file name below the folder that it is imported from; error messages show it."""
    return name.replace(".", "/") + ("/__init__.py" if is_package(source_path) else ".py")


def compile_module(name: str, source_path: str) -> CodeType:
    """Return a module's code; optimised, it has neither docstrings nor asserts."""
    with open(source_path, "rb") as file:
        source = file.read()
    return compile(source, calc_file_name(name, source_path), "exec", dont_inherit=True, optimize=2)


def dump(value: Any) -> bytes:
    """Marshal a value.

    Marshalled values also show which objects happened to be referenced twice when they were made. Read
    back, they show only their own structure: two builds give the same bytes.
    """
    return marshal.dumps(marshal.loads(marshal.dumps(value)))  # noqa: S302 - just made


def find_imports(source_path: str, names: Container[str]) -> tuple[str, ...]:
    """Return those of the modules `names` that a module imports whenever it is run, in order, parents first.

    What is imported in functions, for type checkers, or on conditions is not among them.
    """
    with open(source_path, "rb") as file:
        statements = ast.parse(file.read()).body
    wanted: list[str] = []
    for statement in statements:
        if isinstance(statement, ast.Import):
            wanted += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            wanted.append(statement.module)
            wanted += [f"{statement.module}.{alias.name}" for alias in statement.names]
    parts = [name.split(".") for name in wanted]
    parents = [".".join(part[: i + 1]) for part in parts for i in range(len(part))]
    return tuple(name for name in dict.fromkeys(parents) if name in names)


def make_bundle(sources: dict[str, str], calls: dict[str, set[str]]) -> bytes:
    """Return the bundle's content.

    Args:
        sources: each module's source path.
        calls: what each call imports, including modules that are not in the bundle.
    """
    content = b""

    def append(part: object) -> tuple[int, int]:
        nonlocal content
        dumped = dump(part)
        content += dumped
        return len(content) - len(dumped), len(dumped)

    modules = {
        name: (is_package(path), find_imports(path, sources), compile_module(name, path))
        for name, path in sorted(sources.items())
    }
    index = append({name: append(module) for name, module in modules.items()})
    packs = {}
    for call, names in calls.items():
        packages: dict[str, dict[str, object]] = {}
        for name in sorted(names):
            packages.setdefault(name.rpartition(".")[0], {})[name] = modules.get(name)
        packs[call] = {package: append(pack) for package, pack in packages.items()}
    head = dump((packs, index))
    return len(head).to_bytes(4, "little") + head + content
