"""A name stands for one thing in the whole suite, and a file has one concern."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import shibafu

PLUGINS = Path(shibafu.__file__).parent
IPAM = PLUGINS.parent.parent / "ipam" / "shibafu_ipam"
TESTS = Path(__file__).parents[1]
SOURCES = sorted(path for root in (PLUGINS, IPAM) for path in root.rglob("*.py"))

# Files of these names are what each part, or each group of subcommands, has of its own.
EACH_HAS = {"__init__.py", "__main__.py", "config.py", "errors.py", "plan.py", "verbs.py"}
# The verbs of plugins.
VERBS = {"add", "check", "collect_garbage", "delete", "status"}
# What executables begin with.
ENTRIES = {"main", "run"}
# A backend's words, side by side.
BACKENDS = {"render_list", "render_setup", "render_teardown"}
# Routes of the kernel and of a result: in a file of one of them the other has a further word.
BOTH = {"Route"}
_LONGEST = 400


def find_names(kind: type[ast.FunctionDef] | type[ast.ClassDef]) -> Iterator[tuple[str, list[str]]]:
    """Yield the public functions, or classes, of which there are several, and where."""
    places = defaultdict(list)
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, kind) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(PLUGINS.parent.parent)))
    yield from ((name, where) for name, where in places.items() if len(where) > 1)


def test_a_class_has_its_name_alone() -> None:
    assert {name: where for name, where in find_names(ast.ClassDef) if name not in BOTH} == {}


def test_a_function_has_its_name_alone() -> None:
    allowed = VERBS | ENTRIES | BACKENDS
    assert {name: where for name, where in find_names(ast.FunctionDef) if name not in allowed} == {}


def test_a_file_has_its_name_alone_but_for_verbs_and_subcommands() -> None:
    """A subcommand has the name of its word, and what it does may have the same in `networks`."""
    places = defaultdict(list)
    for path in SOURCES:
        is_subcommand = path.is_relative_to(PLUGINS / "cli")
        if not is_subcommand and path.name not in EACH_HAS and path.stem not in VERBS | {"gc"}:
            places[path.name].append(str(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_file_is_too_long_to_read() -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: lines for path, lines in lengths.items() if lines > _LONGEST} == {}


def test_support_code_imports_no_tests() -> None:
    for path in sorted((TESTS / "support").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                layer = str(node.module).partition(".")[0]
                assert not (TESTS / layer).is_dir() or layer == "support", f"{path}:{node.lineno}"
