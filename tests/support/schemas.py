"""The JSON Schemas of docs/schemas, and values that are to be what they say.

What runs the command in tests validates all JSON that it returns: whatever happens there, the schemas hold.
"""

import re
from collections.abc import Iterator
from functools import cache
from json import loads
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource

from support.command_line import LINES

_DOCS = Path(__file__).parents[2] / "docs"
SCHEMAS: dict[str, dict[str, Any]] = {
    path.name: loads(path.read_text()) for path in sorted((_DOCS / "schemas").iterdir())
}
# The schema of what a subcommand prints, as docs/commands.md links it; a group's is that of all its words.
_LINK = re.compile(r"\[`([a-z -]+)`\]\(schemas/([a-z-]+\.json)\)")
_LINKED = dict(_LINK.findall((_DOCS / "commands.md").read_text()))
VALUES = {line: _LINKED.get(line) or _LINKED.get(line.split()[0]) for line in LINES}
# What is whoever's that wrote it: configurations, results of plugins.
_OPEN = {"config", "driver-opts", "result"}
# No schema has such a key, and none lets an object with it stand for something else.
_ALIEN: dict[str, Any] = {"alien": {}}


@cache
def open_validator(name: str) -> Draft202012Validator:
    """Return what validates a value against a schema, named by its file."""
    resources = ((other, Resource.from_contents(schema)) for other, schema in SCHEMAS.items())
    return Draft202012Validator(SCHEMAS[name], registry=Registry().with_resources(resources))


def find_subcommand(line: str) -> str:
    """Return the subcommand of a command line: `network ls` of `network ls --quiet`."""
    words = line.split()
    return next(name for name in (" ".join(words[:2]), words[0]) if name in VALUES)


def validated(line: str, value: Any) -> Any:
    """Return what a command line has printed, once it is seen to be what the subcommand's schema says."""
    schema = VALUES[find_subcommand(line)]
    assert schema is not None, f"{line} prints a value"
    assert_valid(schema, value)
    return value


def assert_valid(schema: str, value: Any) -> None:
    """See that a value is what a schema, named by its file, says."""
    error = best_match(open_validator(schema).iter_errors(value))
    assert error is None, f"{schema}: {error.json_path}: {error.message}"


def assert_closed(schema: str, value: Any) -> None:
    """See that a schema takes a value, and no other that has anything else at any place, or more, or less."""
    assert_valid(schema, value)
    validator = open_validator(schema)
    for changed in _change(value):
        assert not validator.is_valid(changed), f"{schema} takes {changed}"


def _change(value: Any) -> Iterator[Any]:
    """Yield a value with one thing changed, for each place in it."""
    yield _ALIEN
    if isinstance(value, list):
        for at, item in enumerate(value):
            yield from ([*value[:at], changed, *value[at + 1 :]] for changed in _change(item))
    if isinstance(value, dict):
        yield value | _ALIEN
        for key in value.keys() - _OPEN:
            yield from (value | {key: changed} for changed in _change(value[key]))


def describe_objects(schema: object) -> Iterator[dict[str, Any]]:
    """Yield each part of a schema that describes an object by its properties."""
    parts: list[object] = []
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield schema
        parts = list(schema.values())
    elif isinstance(schema, list):
        parts = schema
    for part in parts:
        yield from describe_objects(part)


def list_references(schema: object) -> set[str]:
    """Return the files that a schema refers to."""
    text = str(schema)
    return {name for name in SCHEMAS if f"'$ref': '{name}'" in text}
