"""Messages, help, documentation and docstrings are in plain English: phrases that must not come back."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Patterns of what reads as translated, and what to write instead.
PHRASES = {
    r"anew": "again",
    r"beside": '"next to", "in addition to", "compared with" or "in parallel with"',
    r"by now": '"now"',
    r"called like": '"named after", or "has a name like"',
    r"comes? into being": '"is created"',
    r"hand(s|ed)? on": '"pass on"',
    r"if need be": '"if necessary"',
    r"in no case": '"never"',
    r"(?<!there )(is|are) no (?!longer|more|other|such)\w+": '"is not a ..."',
    r"(is|are) there already": '"already exists"',
    r"joined by": '"separated by"',
    r"knows? of": '"knows", "has a record of", or who recorded it',
    r"makes? no sense": '"is invalid"',
    r"mend(s|ed|ing)?": '"repair" or "fix"',
    r"shall": '"must", or what is the case',
    r"slip of the pen": '"typo"',
    r"takes? the place of": '"replaces"',
    r"tells? of": '"reports", "describes" or "names"',
    r"tells? whether": '"report whether", or "return whether" in a docstring',
    r"whoever": 'who it is: "the caller", "the process that ..."',
}
# Files that may have a phrase, and why.
EXCEPTIONS = {
    (
        "docs/performance.md",
        "beside",
    ): "rows of tables are called so, of which bench/run.sh writes the figures",
}
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("conf/*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("packaging/man/*"),
        *ROOT.glob("packaging/*.sh"),
        *ROOT.glob("packaging/*/*.md"),
    ]
)
SOURCES = sorted([*(ROOT / "plugins").rglob("*.py"), *(ROOT / "ipam").rglob("*.py")])
_PATTERNS = {phrase: re.compile(rf"\b{phrase}\b", re.IGNORECASE) for phrase in PHRASES}


def read_texts(path: Path) -> Iterator[str]:
    """Yield what a file has for people: all of a document, the strings and docstrings of a module."""
    text = path.read_text()
    if path.suffix != ".py":
        yield text
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def find_phrases(text: str) -> list[str]:
    """Return the patterns that a text matches, across line ends."""
    flowing = " ".join(text.split())
    return [phrase for phrase, pattern in _PATTERNS.items() if pattern.search(flowing)]


@pytest.mark.parametrize("path", [*DOCUMENTS, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_plain_words(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    found = {phrase for text in read_texts(path) for phrase in find_phrases(text)}
    allowed = {phrase for file, phrase in EXCEPTIONS if file == name}
    assert found >= allowed, "an exception that is not needed any more"
    assert not {phrase: PHRASES[phrase] for phrase in found - allowed}


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ('"a b" is no host name', r"(?<!there )(is|are) no (?!longer|more|other|such)\w+"),
        ("Whoever holds the lock", "whoever"),
        ("The link is there\n    already.", "(is|are) there already"),
        ("beside the bridge", "beside"),
    ],
)
def test_a_phrase_is_found(text: str, phrase: str) -> None:
    assert find_phrases(text) == [phrase]


@pytest.mark.parametrize(
    "text", ["there is no bridge", "is no longer a port", "besides", "recommended", "marshalled"]
)
def test_plain_text_is_not(text: str) -> None:
    assert find_phrases(text) == []
