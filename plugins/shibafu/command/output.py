"""Output for people and for programs: tables, colours, sizes, JSON."""

import json
import os
from collections.abc import Sequence
from typing import TextIO

from shibafu.cni.errors import calc_line
from shibafu.command.errors import CommandError

_COLOURS = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class Style:
    """Colours, on a terminal only; NO_COLOR switches them off (https://no-color.org)."""

    def __init__(self, is_coloured: bool) -> None:
        self.is_coloured = is_coloured

    @classmethod
    def of_stream(cls, stream: TextIO) -> "Style":
        """Return the style that fits where the output goes."""
        is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        return cls(is_terminal and not os.environ.get("NO_COLOR"))

    def paint(self, colour: str, text: str) -> str:
        """Return the text in a colour of `_COLOURS`."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.is_coloured and text else text


class Output:
    """Where a subcommand prints.

    Args:
        stream: standard output.
        is_json: whether programs read it.
        style: the colours.
        errors: standard error.
    """

    def __init__(self, stream: TextIO, is_json: bool, style: Style, errors: TextIO) -> None:
        self.stream = stream
        self.errors = errors
        self.is_json = is_json
        self.style = style

    def text(self, text: str) -> None:
        """Print lines for people; programs do not see them."""
        if not self.is_json:
            self.stream.write(text + "\n" if text else "")

    def warn(self, warnings: Sequence[str]) -> None:
        """Print what somebody should know although all went well, on standard error."""
        for warning in warnings:
            text = f"shibafu: warning: {calc_line(warning)}"
            line = json.dumps({"warning": warning}) if self.is_json else text
            self.errors.write(line + "\n")

    def failure(self, failure: CommandError) -> None:
        """Print what failed, on standard error."""
        if self.is_json:
            said = {"error": failure.message} | ({"hint": failure.hint} if failure.hint else {})
            self.errors.write(json.dumps(said) + "\n")
            return
        style = Style.of_stream(self.errors)
        self.errors.write(f"{style.paint('red', 'shibafu:')} {_calc_lines(failure.message)}\n")
        if failure.hint:
            self.errors.write(f"         {_calc_lines(failure.hint)}\n")

    def data(self, data: object, compact: bool = False) -> None:
        """Print a value for programs; people do not see it."""
        if self.is_json:
            self.stream.write(json.dumps(data, indent=None if compact else 2) + "\n")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table for people; columns of which all cells are numbers are flush right."""
        self.text("\n".join(format_table(head, rows, self.style)))


def _calc_lines(text: str) -> str:
    """Return a text that does nothing to a terminal; `network apply` has a line for each mistake."""
    return "\n".join(calc_line(line) for line in text.split("\n"))


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]], style: Style) -> list[str]:
    """Return the lines of a table."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    right = [
        bool(rows) and all(row[i].isdecimal() or row[i] == "-" for row in rows) for i in range(len(head))
    ]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(cells, widths, right, strict=True)
        ]
        return "  ".join(padded).rstrip()

    return [style.paint("bold", line(head)), *map(line, rows)]


def format_size(size: int) -> str:
    """Return a number of bytes as people read it: 1.2 kB."""
    value = float(size)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def format_count(count: int, noun: str) -> str:
    """Return a number of things: 1 container, 2 containers."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
