r"""Regular expressions as Go's regexp has them, which the reference reads; `import re` would take 10 ms.

An expression becomes a function of a text and of places in it that returns where what begins there may end.
It is asked for all places at once, so that no expression takes long: nothing is ever tried again.

The syntax is RE2's (https://github.com/google/re2/wiki/Syntax) without flags, `\p`, `\Q` and octal digits.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Places = set[int]
    Matcher = Callable[[str, Places], Places]
    Test = Callable[[str], bool]

# Go's, which keeps expressions from growing without bounds.
_MAX_COUNT = 1000
_COUNTS: "dict[str, tuple[int, int | None]]" = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_CONTROLS = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
# As character ranges: two ends each.
_PERL = {"d": "09", "w": "09AZaz__", "s": "\t\n\f\r  "}
_POSIX = {
    "alnum": "09AZaz",
    "alpha": "AZaz",
    "ascii": "\0\x7f",
    "blank": "\t\t  ",
    "cntrl": "\0\x1f\x7f\x7f",
    "digit": "09",
    "graph": "!~",
    "lower": "az",
    "print": " ~",
    "punct": "!/:@[`{~",
    "space": "\t\r  ",
    "upper": "AZ",
    "word": "09AZaz__",
    "xdigit": "09AFaf",
}


def is_match(expression: str, text: str) -> bool:
    """Return whether an expression matches a part of a text.

    Raises:
        ValueError: it is not an expression; the text is Go's.
    """
    return bool(_Parser(expression).parse()(text, set(range(len(text) + 1))))


class _Parser:
    """One expression, read from left to right."""

    def __init__(self, expression: str) -> None:
        self._text = expression
        self._at = 0

    def parse(self) -> "Matcher":
        matcher = self._parse_alternatives()
        if self._at < len(self._text):
            raise ValueError(f"unexpected ): `{self._text}`")
        return matcher

    def _skip(self, token: str) -> bool:
        """Go past what comes next if it is this."""
        found = self._text.startswith(token, self._at)
        if found:
            self._at += len(token)
        return found

    def _take(self) -> str:
        """Return the next character; empty at the end."""
        character = self._text[self._at : self._at + 1]
        self._at += 1
        return character

    def _parse_alternatives(self) -> "Matcher":
        branches = [self._parse_sequence()]
        while self._skip("|"):
            branches.append(self._parse_sequence())
        return branches[0] if len(branches) == 1 else _any_of(branches)

    def _parse_sequence(self) -> "Matcher":
        parts: list[Matcher] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            part = self._parse_atom()
            operator = self._at
            counts = self._parse_counts()
            if counts is not None:
                part = _repeat(part, *counts)
                if self._parse_counts() is not None:
                    raise ValueError(
                        f"invalid nested repetition operator: `{self._text[operator : self._at]}`"
                    )
            parts.append(part)
        return _sequence(parts)

    def _parse_counts(self) -> tuple[int, int | None] | None:
        """Return how often something is repeated, at least and at most; None where it is not."""
        counts = next((_COUNTS[operator] for operator in _COUNTS if self._skip(operator)), None)
        if counts is None:
            counts = self._parse_braces()
        if counts is not None:
            self._skip("?")  # which match is preferred makes no difference here
        return counts

    def _parse_braces(self) -> tuple[int, int | None] | None:
        stated, closing, _ = self._text[self._at + 1 :].partition("}")
        first, comma, last = stated.partition(",")
        is_count = bool(closing) and _is_number(first) and (_is_number(last) or not last)
        if not is_count or not self._skip("{"):
            return None  # a brace like any other character
        self._at += len(stated) + 1
        least, most = int(first), int(last or first)
        if not least <= most <= _MAX_COUNT:
            raise ValueError(f"invalid repeat count: `{{{stated}}}`")
        return least, None if comma and not last else most

    def _parse_atom(self) -> "Matcher":
        start = self._at
        character = self._take()
        if character == "(":
            return self._parse_group(start)
        if character == "[":
            return _one(self._parse_class(start))
        if character == ".":
            return _one(lambda found: found != "\n")
        if character == "^":
            return _at_place(lambda text, place: place == 0)
        if character == "$":
            return _at_place(lambda text, place: place == len(text))
        if character == "\\":
            return self._parse_escape()
        if character in _COUNTS:
            raise ValueError(f"missing argument to repetition operator: `{character}`")
        return _one(lambda found: found == character)

    def _parse_group(self, start: int) -> "Matcher":
        if self._skip("?") and not self._skip(":"):
            name, closing, _ = self._text[self._at :].partition(">")
            if not (closing and name.startswith(("P<", "<")) and name.partition("<")[2].isidentifier()):
                raise ValueError(f"invalid or unsupported Perl syntax: `{self._text[start : self._at + 1]}`")
            self._at += len(name) + 1
        group = self._parse_alternatives()
        if not self._skip(")"):
            raise ValueError(f"missing closing ): `{self._text}`")
        return group

    def _parse_escape(self) -> "Matcher":
        for name, test in _ASSERTIONS.items():
            if self._skip(name):
                return _at_place(test)
        return _one(self._parse_escaped())

    def _parse_escaped(self) -> "Test":
        """Return a test of a character for what a backslash begins."""
        start = self._at - 1
        character = self._take()
        if not character:
            raise ValueError("trailing backslash at end of expression: ``")
        if character.lower() in _PERL:
            return _in_ranges(_PERL[character.lower()], character.isupper())
        wanted = _CONTROLS.get(character, "" if character.isalnum() else character)
        if character == "x":
            digits = self._text[self._at : self._at + 2]
            if self._skip("{"):
                digits = self._text[self._at :].partition("}")[0]
                self._at += 1
            self._at += len(digits)
            if all(digit in "0123456789abcdefABCDEF" for digit in digits) and 1 < len(digits) < 6:
                wanted = chr(int(digits, 16))
        if not wanted:
            raise ValueError(f"invalid escape sequence: `{self._text[start : self._at]}`")
        return lambda found: found == wanted

    def _parse_class(self, start: int) -> "Test":
        """Return a test of a character for what is between brackets."""
        is_inverted = self._skip("^")
        tests: list[Test] = []
        while not tests or not self._skip("]"):
            if self._at >= len(self._text):
                raise ValueError(f"missing closing ]: `{self._text[start:]}`")
            tests.append(self._parse_member())
        return lambda found: any(test(found) for test in tests) != is_inverted

    def _parse_member(self) -> "Test":
        start = self._at
        if self._skip("[:"):
            name, closing, _ = self._text[self._at :].partition(":]")
            if closing:
                self._at += len(name) + 2
                if name.removeprefix("^") not in _POSIX:
                    raise ValueError(f"invalid character class range: `{self._text[start : self._at]}`")
                return _in_ranges(_POSIX[name.removeprefix("^")], name.startswith("^"))
            self._at = start
        low = self._take()
        if low == "\\":
            test = self._parse_escaped()
            # A range may begin with one character that is escaped, but not with a class of them.
            low = self._text[self._at - 1] if self._text[self._at - 1] not in "dDsSwW" else ""
            if not low or self._text[self._at : self._at + 1] != "-":
                return test
        if self._text[self._at : self._at + 1] != "-" or self._text[self._at + 1 : self._at + 2] in ("]", ""):
            return lambda found: found == low
        self._at += 1
        high = self._take()
        if high == "\\":
            high = self._take()
        if high < low:
            raise ValueError(f"invalid character class range: `{self._text[start : self._at]}`")
        return lambda found: low <= found <= high


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _one(test: "Test") -> "Matcher":
    return lambda text, places: {p + 1 for p in places if p < len(text) and test(text[p])}


def _at_place(test: "Callable[[str, int], bool]") -> "Matcher":
    return lambda text, places: {p for p in places if test(text, p)}


def _any_of(branches: "list[Matcher]") -> "Matcher":
    return lambda text, places: {end for branch in branches for end in branch(text, places)}


def _sequence(parts: "list[Matcher]") -> "Matcher":
    def match(text: str, places: "Places") -> "Places":
        for part in parts:
            places = part(text, places)
        return places

    return match


def _repeat(part: "Matcher", least: int, most: int | None) -> "Matcher":
    def match(text: str, places: "Places") -> "Places":
        for _ in range(least):
            places = part(text, places)
        reached, new, count = places, places, least
        while new and count != most:
            new = part(text, new) - reached
            reached = reached | new
            count += 1
        return reached

    return match


def _in_ranges(ends: str, is_inverted: bool = False) -> "Test":
    ranges = list(zip(ends[::2], ends[1::2], strict=True))
    return lambda found: any(low <= found <= high for low, high in ranges) != is_inverted


def _is_boundary(text: str, place: int) -> bool:
    is_word = _in_ranges(_PERL["w"])
    before, after = text[max(place - 1, 0) : place], text[place : place + 1]
    return bool(before and is_word(before)) != bool(after and is_word(after))


_ASSERTIONS: "dict[str, Callable[[str, int], bool]]" = {
    "A": lambda text, place: place == 0,
    "z": lambda text, place: place == len(text),
    "b": _is_boundary,
    "B": lambda text, place: not _is_boundary(text, place),
}
