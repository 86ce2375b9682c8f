"""Text for people: tables, colours, sizes, counts."""

import os
from collections.abc import Sequence
from typing import TextIO

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
