"""The figures in README.md and docs/performance.md, which `bench/run.sh --update` writes."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.report import Table

# What README.md shows, by the rows' names.
_SPEED = {
    "VERSION": "VERSION",
    "no NAT: ADD": "ADD, without NAT",
    "no NAT: CHECK": "CHECK, without NAT",
    "no NAT: DEL": "DEL, without NAT",
    "NAT, beside another: ADD": "ADD, with NAT",
    "NAT, beside another: CHECK": "CHECK, with NAT",
    "NAT, beside another: DEL": "DEL, with NAT",
    "NAT: ADD": "ADD, with NAT, first of its network",
    "NAT: DEL": "DEL, with NAT, last of its network",
    "NAT, dual stack, beside another: ADD": "ADD, with NAT, dual stack",
    "NAT, dual stack, beside another: CHECK": "CHECK, with NAT, dual stack",
    "NAT, dual stack, beside another: DEL": "DEL, with NAT, dual stack",
    "32 ADDs with NAT at once": "32 ADDs at once, with NAT",
    "32 DELs with NAT at once": "32 DELs at once, with NAT",
    "ADD as the 200th container": "ADD as the 200th container, with NAT",
    "IPAM with 0 leases: ADD": "an address out of an empty range",
    "IPAM with 10,000 leases: ADD": "an address where 10,000 are taken",
}
_SIDES = ("engine", "cold")


def update_figures(root: Path, head: Iterable[str], tables: Sequence[Table]) -> None:
    """Write the figures of a run of all cases.

    Args:
        root: of the sources.
        head: lines that say how they were measured.
        tables: all of them.

    Raises:
        ValueError: a document has no place for them.
    """
    lines = [*head]
    for table in tables:
        lines += ["", *table.draw()]
    _replace(root / "docs" / "performance.md", "figures", lines)
    _replace(root / "README.md", "speed", _draw_speed(tables))


def update_trace(root: Path, tables: Sequence[Table]) -> None:
    """Write where the time goes.

    Raises:
        ValueError: the document has no place for it.
    """
    lines: list[str] = []
    for table in tables:
        lines += ["", *table.draw()]
    _replace(root / "docs" / "performance.md", "trace", lines[1:])


def _draw_speed(tables: Sequence[Table]) -> list[str]:
    compared = [table for table in tables if set(_SIDES) <= set(table.sides)]
    rows = {row.name: (row, table.sides[-1]) for table in compared for row in table.rows}
    lines = [f"| Call | {' | '.join(_SIDES)} |", "|---|---:|---:|"]
    for name, label in _SPEED.items():
        row, base = rows[name]
        ratios = [row.calc_ratio(side, base) or 0 for side in _SIDES]
        lines.append(f"| {label} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")
    return lines


def _replace(path: Path, name: str, lines: Iterable[str]) -> None:
    """Put lines between the marks of this name."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    text = path.read_text()
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path} has no marks {begin.strip()} and {end.strip()}")
    path.write_text(before + begin + "".join(f"{line}\n" for line in lines) + end + after)
