"""Tables, sizes, counts and colours."""

from io import StringIO

import pytest

from shibafu.networks.text import Style, format_count, format_size, format_table


def test_tables_align_and_numbers_are_flush_right() -> None:
    lines = format_table(("NAME", "N"), [("a", "1"), ("long", "100")], Style(False))
    assert lines == ["NAME    N", "a       1", "long  100"]
    assert format_table(("NAME",), [], Style(False)) == ["NAME"]


def test_the_last_column_is_wrapped_on_a_terminal() -> None:
    text = "-i br-blue -m conntrack --ctstate DNAT -j ACCEPT"
    rows = [("1", text), ("2", "-j DROP")]
    assert format_table(("N", "RULE"), rows, Style(False, 40)) == [
        "N  RULE",
        "1  -i br-blue -m conntrack --ctstate",
        "   DNAT -j ACCEPT",
        "2  -j DROP",
    ]
    assert format_table(("N", "RULE"), rows, Style(False))[1] == f"1  {text}"
    assert len(format_table(("N", "RULE"), rows, Style(False, 1))) == 4


def test_sizes_and_counts() -> None:
    assert [format_size(size) for size in (0, 999, 1000, 1_250_000)] == ["0 B", "999 B", "1.0 kB", "1.2 MB"]
    assert format_count(1, "container") == "1 container"
    assert format_count(0, "container") == "0 containers"


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert Style.of_stream(Terminal()).paint("red", "x") == "\x1b[31mx\x1b[0m"
    assert Style.of_stream(StringIO()).paint("red", "x") == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert Style.of_stream(Terminal()).paint("red", "x") == "x"
