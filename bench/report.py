"""What was measured, as tables for people and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles


@dataclass(frozen=True)
class Row:
    """One quantity, measured on one or two sides.

    Args:
        name: tells it from all others, "nat: ADD".
        left: the samples of the side that the ratio is of.
        right: the samples of the side that it is compared with, if any; the nth of both were taken in
            the same turn.
        unit: of the samples.
        target: the ratio that is not to be exceeded, if there is one.
    """

    name: str
    left: Sequence[float]
    right: Sequence[float] = ()
    unit: str = "ms"
    target: float | None = None

    @property
    def ratio(self) -> float | None:
        """The ratio of the medians."""
        return median(self.left) / median(self.right) if self.right and median(self.right) else None

    @property
    def is_missed(self) -> bool:
        """Whether the ratio is above its target."""
        return self.target is not None and self.ratio is not None and self.ratio > self.target


@dataclass
class Table:
    """Rows of the same two sides.

    Args:
        title: what is compared.
        left: the name of the side that the ratio is of.
        right: the name of the other one; empty when there is none.
    """

    title: str
    left: str
    right: str = ""
    rows: list[Row] = field(default_factory=list)

    def draw(self) -> Iterator[str]:
        """Return the lines, in Markdown."""
        head = [self.title, self.left]
        lines = [[row.name, _describe(row.left, row.unit)] for row in self.rows]
        if self.right:
            head += [self.right, "ratio", "at most"]
            for line, row in zip(lines, self.rows, strict=True):
                line += [_describe(row.right, row.unit), _describe_ratio(row), _describe_target(row)]
        widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
        for line in (head, rule, *lines):
            cells = [line[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
            yield f"| {' | '.join(cells)} |"

    def to_json(self) -> dict[str, object]:
        """Return all that is known."""
        rows = [
            {
                "name": row.name,
                "unit": row.unit,
                self.left: _summarise(row.left),
                **({self.right: _summarise(row.right), "ratio": row.ratio} if self.right else {}),
                **({"target": row.target} if row.target is not None else {}),
            }
            for row in self.rows
        ]
        return {"title": self.title, "rows": rows}


def _summarise(samples: Sequence[float]) -> dict[str, object]:
    low, high = _calc_quartiles(samples)
    return {
        "median": median(samples),
        "quartiles": [low, high],
        "minimum": min(samples),
        "samples": [round(sample, 4) for sample in samples],
    }


def _calc_quartiles(samples: Sequence[float]) -> tuple[float, float]:
    if len(samples) < 2:
        return samples[0], samples[0]
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return low, high


def _describe(samples: Sequence[float], unit: str) -> str:
    """Return the median, and in brackets between which values the middle half of the samples lies."""
    middle = median(samples)
    digits = 0 if unit == "rules" else 1 if middle < 100 else 0
    if len(samples) < 2:
        return f"{middle:.{digits}f} {unit}"
    low, high = _calc_quartiles(samples)
    return f"{middle:.{digits}f} {unit} ({low:.{digits}f}-{high:.{digits}f})"


def _describe_ratio(row: Row) -> str:
    if row.ratio is None:
        return ""
    if len(row.left) < 2 or len(row.left) != len(row.right):
        return f"{row.ratio:.2f}"
    low, high = _calc_quartiles([left / right for left, right in zip(row.left, row.right, strict=True)])
    return f"{row.ratio:.2f} ({low:.2f}-{high:.2f})"


def _describe_target(row: Row) -> str:
    if row.target is None:
        return ""
    return f"{row.target:.2f}{' MISSED' if row.is_missed else ''}"
