"""YAML documents as trees of nodes, which know where each value stands, and keys that occur twice.

A reader of a kind of document collects all mistakes of a file, so that people see them at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError
from yaml.resolver import Resolver

from shibafu.documents.errors import DocumentError

# How much of a value is shown.
_SHOWN = 40
_KINDS = {bool: "true or false", int: "a whole number", str: "a text"}
_T = TypeVar("_T")


def compose_documents(text: str, name: str) -> list[Node]:
    """Return the root of each document of a file that is not empty.

    Args:
        text: its content.
        name: what mistakes call the file.

    Raises:
        DocumentError: it is not YAML.
    """
    try:
        roots = _compose(text)
        # A document of only comments is a null without an anchor or a tag.
        return [root for root in roots if not is_null(root)]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        what = error.problem or error.context
        raise DocumentError(
            f"{name}:{line}: invalid YAML, perhaps the indentation or a colon: {what}"
        ) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DocumentError(f"{name}:{line}: character {error.character:#04x} is not allowed") from None
    except RecursionError:
        raise DocumentError(f"{name}: nested too deeply") from None


def _compose(text: str) -> list[Node]:
    """Return the root of each document.

    Raises:
        yaml.YAMLError: it is not YAML.
        RecursionError: it is nested too deeply.
    """
    if yaml.__with_libyaml__:
        try:
            # The types of PyYAML do not say that any loader will do.
            return list(yaml.compose_all(text, Loader=_LibyamlLoader))  # type: ignore[arg-type]
        except (yaml.YAMLError, UnicodeError):
            pass  # the parser in Python has better words for it
    return list(yaml.compose_all(text, Loader=yaml.SafeLoader))


if yaml.__with_libyaml__:
    from yaml._yaml import CParser

    class _LibyamlLoader(Composer, CParser, Resolver):
        """libyaml's parser, with which 1,000 policies are read in 0.6 of the time.

        Its composer takes still less, but overflows the stack where a document is nested deeply.
        """

        def __init__(self, stream: str) -> None:
            CParser.__init__(self, stream)
            Composer.__init__(self)
            Resolver.__init__(self)


def is_null(node: Node | None) -> bool:
    """Return whether a value is absent, or stated as null."""
    return node is None or node.tag == "tag:yaml.org,2002:null"


class NodeReader:
    """Reads nodes and collects mistakes.

    Args:
        name: what mistakes call the file.

    Attributes:
        mistakes: the line of each, counted from 0, and the mistake with its place.
    """

    def __init__(self, name: str) -> None:
        self.mistakes: list[tuple[int, str]] = []
        self._name = name

    def parse(self, text: str, read: Callable[[list[Node]], _T]) -> _T:
        """Return what a file has.

        Args:
            text: its content.
            read: returns it for the roots of the documents, and collects mistakes.

        Raises:
            DocumentError: every mistake in it, each on a line with its place.
        """
        found = read(compose_documents(text, self._name))
        self.raise_mistakes()
        return found

    def only_section(self, roots: list[Node], key: str) -> Node | None:
        """Return the value of the only key of a file; None if that is a mistake.

        Raises:
            DocumentError: the file is empty.
        """
        if not roots:
            raise DocumentError(f'{self._name}:1: the file is empty; it begins with "{key}:"')
        root, *more = roots
        if more:
            self.refuse(more[0], "the file must be a single document: remove the line ---")
        entries = self.mapping(root, (key,), "the file")
        if key not in entries and not self.mistakes:
            self.refuse(root, f'"{key}" is missing')
        return entries.get(key)

    def raise_mistakes(self) -> None:
        """Report what was collected, in the order of lines.

        Raises:
            DocumentError: there were mistakes.
        """
        if self.mistakes:
            raise DocumentError("\n".join(text for _, text in sorted(self.mistakes)))

    def place(self, node: Node) -> str:
        """Return the file and the line, as in `networks.yaml:3`."""
        return f"{self._name}:{node.start_mark.line + 1}"

    def refuse(self, node: Node, problem: str) -> None:
        """Collect a mistake."""
        self.mistakes.append((node.start_mark.line, f"{self.place(node)}: {problem}"))

    @contextmanager
    def telling(self, node: Node) -> Iterator[None]:
        """Collect the ValueError that a part of the work ends in as a mistake of a node."""
        try:
            yield
        except ValueError as error:
            self.refuse(node, str(error))

    def items(self, node: Node, what: str) -> list[tuple[ScalarNode, Node]]:
        """Return the entries of a mapping, whose keys are texts and occur once."""
        if not isinstance(node, MappingNode):
            self.refuse(node, f"{what} must map keys to values, with a colon after each key")
            return []
        items: dict[str, tuple[ScalarNode, Node]] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.refuse(key, f"a key of {what} must be a word")
            elif key.value in items:
                first = items[key.value][0].start_mark.line + 1
                self.refuse(key, f'"{key.value}" occurs twice, first on line {first}')
            else:
                items[key.value] = (key, value)
        return list(items.values())

    def mapping(self, node: Node, keys: tuple[str, ...], what: str) -> dict[str, Node]:
        """Return the entries of a mapping that has certain keys only."""
        entries = {}
        for key, value in self.items(node, what):
            if key.value in keys:
                entries[key.value] = value
            else:
                self.refuse(key, f'{what} has no key "{key.value}"; known keys: {", ".join(keys)}')
        return entries

    def sequence(self, node: Node, what: str) -> list[Node]:
        """Return the items of a list."""
        if isinstance(node, SequenceNode):
            return list(node.value)
        self.refuse(node, f"{what} must be a list: each item begins with a dash")
        return []

    def scalar(self, node: Node | None, key: str, kind: type, default: Any) -> Any:
        """Return the value of a key, or the default where it is absent, null or a mistake."""
        if node is None or is_null(node):
            return default
        try:
            value = self.construct(node)
        except ValueError:
            value = None
        if type(value) is kind:
            return value
        self.refuse(node, f'"{key}" is {_KINDS[kind]}')
        return default

    def convert(self, node: Node, convert: Callable[[str], _T]) -> _T | None:
        """Return an address or the like of a node's text; None where that is a mistake."""
        if not isinstance(node, ScalarNode):
            self.refuse(node, "expected one address or subnet")
            return None
        with self.telling(node):
            return convert(node.value)
        return None

    @staticmethod
    def construct(node: Node) -> object:
        """Return a scalar's value; None for a mapping or a list.

        Raises:
            ValueError: it is not what its tag or its form says, such as a date with a month 13.
        """
        if not isinstance(node, ScalarNode):
            return None
        try:
            return SafeConstructor().construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError):
            raise ValueError(f'"{node.value[:_SHOWN]}" cannot be read as text: put it in quotes') from None
