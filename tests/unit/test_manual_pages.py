"""The manual pages: sound, and with all that programs can be told."""

import re
import subprocess
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

import pytest

from shibafu.cli.parser import build_parser
from shibafu.engine.programs import SERVED
from shibafu.hook.__main__ import _USAGE

MANUAL = Path(__file__).parents[2] / "packaging" / "man"
PROGRAMS = ("shibafu", *SERVED)


def find_subcommands(parser: ArgumentParser, words: str = "") -> Iterator[tuple[str, ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for name, inner in action.choices.items():
                yield from find_subcommands(inner, f"{words} {name}".strip())
            return
    yield words, parser


def find_options(parser: ArgumentParser) -> set[str]:
    """Return a subcommand's options, as they are written in mdoc(7)."""
    names = [name for action in parser._actions for name in action.option_strings]
    return {name.removeprefix("-").replace("-", "\\-", 1) if name[1] == "-" else name[1:] for name in names}


def read_flags(text: str) -> set[str]:
    """Return all that `Fl` names in a piece of a page."""
    flags = set()
    for line in text.splitlines():
        for words in re.findall(r"(?:^\.|\s)Fl ((?:[^\s,]+(?: , )?)+)", line):
            flags.update(words.split(" , "))
    return flags


SUBCOMMANDS = dict(find_subcommands(build_parser()))
PAGE = (MANUAL / "shibafu.8").read_text()
COMMON = read_flags(PAGE.partition(".Sh COMMON OPTIONS\n")[2].partition("\n.Sh ")[0])


@pytest.mark.parametrize("words", SUBCOMMANDS)
def test_subcommand_has_its_options(words: str) -> None:
    """And none that it has not."""
    before, head, after = re.split(rf"(^\.It Cm {words}\b)", PAGE, maxsplit=1, flags=re.MULTILINE)
    same = rf"^\.It Cm (?!{words}\b)|^\.Sh "
    told = read_flags(re.split(same, head + after, maxsplit=1, flags=re.MULTILINE)[0])
    # The beginning of a section may tell of options that all of its subcommands have.
    told |= read_flags(before.rpartition("\n.Sh ")[2].partition("\n.Bl ")[0])
    assert told | COMMON == find_options(SUBCOMMANDS[words]) | COMMON
    assert find_options(SUBCOMMANDS[words]) >= COMMON


def test_no_other_subcommand_is_told_of() -> None:
    described = re.findall(
        r"^\.It Cm ([a-z-]+(?: [a-z-]+)?)", PAGE.split("\n.Sh ENVIRONMENT")[0], re.MULTILINE
    )
    assert {words if words in SUBCOMMANDS else words.split()[0] for words in described} == set(SUBCOMMANDS)


def test_hook_has_its_flags() -> None:
    page = (MANUAL / "shibafu-hook.8").read_text()
    assert set(re.findall(r"^  --([a-z-]+)=", _USAGE, re.MULTILINE)) == set(
        re.findall(r"^\.It Fl \\-([a-z-]+) ", page, re.MULTILINE)
    )


def test_every_program_has_a_page() -> None:
    assert {page.name for page in MANUAL.iterdir()} == {f"{program}.8" for program in PROGRAMS}


@pytest.mark.root
def test_nothing_to_warn_of() -> None:
    pages = sorted(MANUAL.iterdir())
    done = subprocess.run(
        ["mandoc", "-Tlint", "-W", "warning", *pages], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == ""
