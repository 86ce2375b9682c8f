"""Tests find what they share in modules that are no tests: a change of a test breaks no other."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
# It has an engine do what these test without one.
EXCEPTION = TESTS / "e2e" / "test_engine_runtimes.py"


def test_no_test_is_imported() -> None:
    tests = re.compile(r"(\w+\.)?test_\w+")
    for path in set(TESTS.rglob("*.py")) - {EXCEPTION}:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                assert not tests.fullmatch(name), f"{path.relative_to(TESTS)} imports {name}"
