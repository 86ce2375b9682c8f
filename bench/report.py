"""What was measured, as tables for people and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles


@dataclass(frozen=True)
class Row:
    """One quantity, measured on one or several sides.

    Args:
        name: tells it from all others, "NAT: ADD".
        samples: by the sides' names; a side that has no such quantity is missing. The nth of all sides were
            taken in the same turn.
        unit: of the samples.
        targets: the ratios that are not to be exceeded, by the sides' names.
        served: the share of calls that the engine served; None without an engine.
    """

    name: str
    samples: Mapping[str, Sequence[float]]
    unit: str = "ms"
    targets: Mapping[str, float] = field(default_factory=dict)
    served: float | None = None

    def calc_ratio(self, side: str, base: str) -> float | None:
        """Return the ratio of the medians of two sides; None where it has no value."""
        if not self.samples.get(side) or not self.samples.get(base):
            return None
        below = median(self.samples[base])
        return median(self.samples[side]) / below if below else None

    def is_above(self, side: str, base: str) -> bool:
        """Return whether a side's ratio is above its target."""
        if side not in self.targets or not self.samples.get(side) or not self.samples.get(base):
            return False
        # Not the ratio: of rules there may be none.
        return median(self.samples[side]) > self.targets[side] * median(self.samples[base])

    @property
    def is_unserved(self) -> bool:
        """Whether calls of the engine's side went past the engine."""
        return self.served is not None and self.served < 1


@dataclass
class Table:
    """Rows of the same sides.

    Args:
        title: what is compared.
        sides: their names; of the last one's samples the others' ratios are, if there is more than one.
    """

    title: str
    sides: Sequence[str]
    rows: list[Row] = field(default_factory=list)

    def find_missed(self) -> list[str]:
        """Return which rows are above a target, or not served by the engine."""
        base = self.sides[-1]
        return [
            f"{self.title}: {row.name}"
            for row in self.rows
            if row.is_unserved or any(row.is_above(side, base) for side in self.sides[:-1])
        ]

    def draw(self) -> Iterator[str]:
        """Return the lines, in Markdown."""
        columns = [[self.title, *(row.name for row in self.rows)]]
        for side in self.sides:
            columns.append([side, *(_describe(row.samples.get(side, ()), row.unit) for row in self.rows)])
        base = self.sides[-1]
        for side in self.sides[:-1]:
            head = "ratio" if len(self.sides) == 2 else f"{side} / {base}"
            columns.append([head, *(_describe_ratio(row, side, base) for row in self.rows)])
            if any(side in row.targets for row in self.rows):
                columns.append(["at most", *(_describe_target(row, side, base) for row in self.rows)])
        if any(row.served is not None for row in self.rows):
            columns.append(["served", *(_describe_served(row) for row in self.rows)])
        widths = [max(map(len, column)) for column in columns]
        rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
        names, *lines = zip(*columns, strict=True)
        for line in (names, rule, *lines):
            cells = [line[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
            yield f"| {' | '.join(cells)} |"

    def to_json(self) -> dict[str, object]:
        """Return all that is known."""
        rows = [
            {
                "name": row.name,
                "unit": row.unit,
                "sides": {side: _summarise(samples) for side, samples in row.samples.items() if samples},
                "ratios": {side: row.calc_ratio(side, self.sides[-1]) for side in self.sides[:-1]},
                "targets": dict(row.targets),
                "served": row.served,
            }
            for row in self.rows
        ]
        return {"title": self.title, "sides": list(self.sides), "rows": rows}


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
    if not samples:
        return ""
    middle = median(samples)
    digits = 0 if unit == "rules" else 1 if middle < 100 else 0
    if len(samples) < 2:
        return f"{middle:.{digits}f} {unit}"
    low, high = _calc_quartiles(samples)
    return f"{middle:.{digits}f} {unit} ({low:.{digits}f}-{high:.{digits}f})"


def _describe_ratio(row: Row, side: str, base: str) -> str:
    ratio = row.calc_ratio(side, base)
    if ratio is None:
        return ""
    left, right = row.samples[side], row.samples[base]
    if len(left) < 2 or len(left) != len(right) or not all(right):
        return f"{ratio:.2f}"
    low, high = _calc_quartiles([one / other for one, other in zip(left, right, strict=True)])
    return f"{ratio:.2f} ({low:.2f}-{high:.2f})"


def _describe_target(row: Row, side: str, base: str) -> str:
    if side not in row.targets:
        return ""
    return f"{row.targets[side]:.2f}{' MISSED' if row.is_above(side, base) else ''}"


def _describe_served(row: Row) -> str:
    if row.served is None:
        return ""
    # Rounded down: 100 % is all of them.
    return f"{int(row.served * 100)} %{' MISSED' if row.is_unserved else ''}"
