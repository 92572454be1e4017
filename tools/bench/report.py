"""What was measured, against what is promised: as a table in the terminal, in ``docs/speed.md``, and as a chart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape


@dataclass(frozen=True)
class Line:
    """One figure. ``floor`` and ``ceiling`` are the promise about it; without one it is only told."""

    group: str
    name: str
    value: float
    unit: str = ""
    floor: float | None = None
    ceiling: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the promise is kept, ``None`` where there is none."""
        if self.floor is None and self.ceiling is None:
            return None
        return (self.floor is None or self.value >= self.floor) and (
            self.ceiling is None or self.value <= self.ceiling
        )

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The row of the table."""
        promise = f"≥ {_number(self.floor)}" if self.floor is not None else ""
        promise = f"≤ {_number(self.ceiling)}" if self.ceiling is not None else promise
        verdict = {True: "holds", False: "FALLS SHORT", None: ""}[self.holds]
        return self.group, self.name, f"{_number(self.value)} {self.unit}".strip(), promise, verdict


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def median(outcomes: Sequence[object], figure: str) -> float:
    """Return the median of what ``outcomes`` have by that name."""
    return statistics.median(float(getattr(each, figure)) for each in outcomes)


def most(outcomes: Sequence[object], figure: str) -> float:
    """Return the largest of what ``outcomes`` have by that name."""
    return max(float(getattr(each, figure)) for each in outcomes)


def ratio(outcomes: Sequence[object], others: Sequence[object], figure: str) -> float:
    """Return the median of how many times the other's figure each has: rounds that were run beside each other."""
    pairs = zip(outcomes, others, strict=True)
    return statistics.median(float(getattr(a, figure)) / float(getattr(b, figure)) for a, b in pairs)


HEAD = ("bench", "figure", "measured", "promise", "")


def terminal(lines: Sequence[Line]) -> str:
    """Return the table for a terminal."""
    rows = [HEAD, *(line.cells for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def markdown(lines: Sequence[Line], machine: str) -> str:
    """Return the table for the page."""
    rows = [HEAD, ("---",) * len(HEAD), *(line.cells for line in lines)]
    return "\n".join([machine, "", *("| " + " | ".join(row) + " |" for row in rows)])


BEGIN, END = "<!-- make bench begins -->", "<!-- make bench ends -->"


def put_into(page: Path, table: str) -> None:
    """Replace what is between the page's two marks."""
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


_ROW, _BARS, _WIDTH = 18, 420, 980


def chart(lines: Sequence[Line], machine: str) -> str:
    """Return an SVG: a bar per figure, as long as its share of the largest figure of its unit in its bench."""
    drawn = [f'<text x="10" y="16" font-weight="bold">{escape(machine)}</text>']
    for place, line in enumerate(lines):
        y = 30 + place * _ROW
        peers = [other.value for other in lines if (other.group, other.unit) == (line.group, line.unit)]
        length = _BARS * line.value / max(*peers, line.value, 1e-9)
        colour = {True: "#2e7d32", False: "#c62828", None: "#78909c"}[line.holds]
        _, _, value, promise, _ = line.cells
        drawn += [
            f'<text x="10" y="{y + 12}">{escape(f"{line.group}: {line.name}")}</text>',
            f'<rect x="400" y="{y + 2}" width="{max(length, 1):.0f}" height="{_ROW - 5}" fill="{colour}"/>',
            f'<text x="{405 + length:.0f}" y="{y + 12}">{escape(f"{value} {promise}".strip())}</text>',
        ]
    size = f'width="{_WIDTH}" height="{40 + len(lines) * _ROW}"'
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )
