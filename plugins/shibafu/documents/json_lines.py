"""A file of JSON that has one document per line, written by the command and read quickly.

YAML's loader takes seconds for a thousand documents. This form is a List of Kubernetes, and so valid JSON and
YAML as well; its lines are numbered like those of other files.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from yaml import Mark
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_FIRST = '{"apiVersion":"v1","kind":"List","items":['
_LAST = "]}"
_TAG = "tag:yaml.org,2002:"


class _Pairs(list[tuple[str, Any]]):
    """The entries of an object, of which two may have the same key."""


def format_json_lines(documents: Iterable[object]) -> str:
    """Return the text of a file."""
    lines = [json.dumps(document, separators=(",", ":"), ensure_ascii=False) for document in documents]
    return "\n".join([_FIRST, *(f"{line}," for line in lines[:-1]), *lines[-1:], _LAST, ""])


def compose_json_lines(text: str) -> Iterator[Node] | None:
    """Return the roots of the documents; None if the file has another form."""
    first, *lines = text.splitlines() or [""]
    if first != _FIRST or not lines or lines.pop() != _LAST:
        return None
    try:
        documents = [json.loads(line.removesuffix(","), object_pairs_hook=_Pairs) for line in lines]
    except (ValueError, RecursionError):
        return None
    # Not all at once: the garbage collector would go through them again and again.
    return (
        _make_node(document, Mark("", 0, number, 0, "", 0)) for number, document in enumerate(documents, 1)
    )


def calc_plain(node: Node) -> object:
    """Return a node as JSON has it; what JSON does not have, such as a date, is a text."""
    if isinstance(node, MappingNode):
        return {key.value: calc_plain(value) for key, value in node.value}
    if isinstance(node, SequenceNode):
        return [calc_plain(item) for item in node.value]
    kind = node.tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return node.value.lower() in ("true", "yes", "on")
    return int(node.value) if kind == "int" and node.value.isdecimal() else str(node.value)


def _make_node(value: object, mark: Mark) -> Node:
    if isinstance(value, _Pairs):
        entries = [(_make_node(key, mark), _make_node(item, mark)) for key, item in value]
        return MappingNode(f"{_TAG}map", entries, mark, mark)
    if isinstance(value, list):
        return SequenceNode(f"{_TAG}seq", [_make_node(item, mark) for item in value], mark, mark)
    kind = {str: "str", bool: "bool", int: "int", float: "float"}.get(type(value), "null")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return ScalarNode(f"{_TAG}{kind}", text, mark, mark, '"' if kind == "str" else None)
