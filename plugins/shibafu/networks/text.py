"""Text for people: tables, colours, sizes, counts, published ports."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

_COLOURS = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
# What limits limit, as the container sees it.
LIMIT_VERBS = {"ingress": "receives", "egress": "sends"}
# A column that is wrapped has at least this many characters; a narrower terminal has to wrap lines itself.
_NARROWEST = 30


class Style:
    """How text looks where it is printed.

    Args:
        is_coloured: on a terminal only; NO_COLOR switches colours off (https://no-color.org).
        width: columns of the terminal; 0 where there is none, so that grep(1) finds lines whole.
    """

    def __init__(self, is_coloured: bool, width: int = 0) -> None:
        self.is_coloured = is_coloured
        self.width = width

    @classmethod
    def of_stream(cls, stream: TextIO) -> "Style":
        """Return the style that fits where the output goes."""
        is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        return cls(is_terminal and not os.environ.get("NO_COLOR"), _measure(stream))

    def paint(self, colour: str, text: str) -> str:
        """Return the text in a colour of `_COLOURS`."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.is_coloured and text else text

    def wrap(self, text: str, indent: int) -> list[str]:
        """Return the lines of a text that begins in column `indent`: one, if not on a terminal."""
        if not self.width:
            return [text]
        room = max(self.width - indent, _NARROWEST)
        return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [text]


def _measure(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:  # no terminal; io.UnsupportedOperation is one, too
        return 0


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]], style: Style) -> list[str]:
    """Return the lines of a table, whose last column is wrapped at the terminal's width."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    right = [
        bool(rows) and all(row[i].isdecimal() or row[i] == "-" for row in rows) for i in range(len(head))
    ]
    indent = sum(widths[:-1]) + 2 * len(widths[:-1])

    def lines(cells: Sequence[str]) -> list[str]:
        first, *more = style.wrap(cells[-1], indent)
        padded = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip([*cells[:-1], first], widths, right, strict=True)
        ]
        return ["  ".join(padded).rstrip(), *(" " * indent + line for line in more)]

    return [style.paint("bold", line) for line in lines(head)] + [line for row in rows for line in lines(row)]


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


def format_port(mapping: Mapping[str, Any]) -> str:
    """Return a published port, or a range of them, as `shibafu run` takes it: 127.0.0.1:8080:80.

    Args:
        mapping: as configurations and results have it (`portMappings`).
    """
    more = mapping.get("range", 1) - 1
    first, target = (
        f"{mapping[key]}-{mapping[key] + more}" if more else str(mapping[key])
        for key in ("hostPort", "containerPort")
    )
    address = str(mapping.get("hostIP", ""))
    where = f"[{address}]:" if ":" in address else f"{address}:" if address else ""
    protocol = "" if mapping["protocol"] == "tcp" else f"/{mapping['protocol']}"
    return f"{where}{first}:{target}{protocol}"
