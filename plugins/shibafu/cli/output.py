"""Where a subcommand prints, for people or for programs."""

import json
from collections.abc import Sequence
from typing import TextIO

from shibafu.cni.errors import calc_line
from shibafu.networks.errors import CommandError
from shibafu.networks.text import Style, format_table


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
        """Print warnings on standard error."""
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

    def commands(self, done: list[str]) -> None:
        """Print the lines of ip(8) that do what was done; none when there was nothing to do."""
        self.data({"changed": bool(done), "commands": done})
        for line in done:
            self.text(f"{self.style.paint('green', '+')} {line}")
        if not done:
            self.text("nothing to do")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table for people; columns of which all cells are numbers are flush right."""
        self.text("\n".join(format_table(head, rows, self.style)))


def _calc_lines(text: str) -> str:
    """Return a text that does nothing to a terminal; `network apply` has a line for each mistake."""
    return "\n".join(calc_line(line) for line in text.split("\n"))
