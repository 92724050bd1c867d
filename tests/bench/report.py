"""What a part of the benchmarks has found, as a table and as JSON."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure of several rounds."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        return cls(tuple(values))

    @classmethod
    def ratio(cls, ours: Iterable[float], theirs: Iterable[float]) -> "Spread":
        """Round by round: what disturbs a round disturbs both."""
        return cls(tuple(map(quotient, ours, theirs)))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return in_short(self.median)
        return f"{in_short(self.median)} ({in_short(min(self.values))} - {in_short(max(self.values))})"


Cell = str | float | Spread | None


@dataclass(frozen=True, slots=True)
class Goal:
    """Something to reach: `at_least` or at most `limit`."""

    what: str
    found: float
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.found >= self.limit if self.at_least else self.found <= self.limit

    @property
    def wanted(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {in_short(self.limit)} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Findings:
    """The rows of one table, each with a cell for every column, and the goals that they speak to."""

    title: str
    rows: Sequence[dict[str, Cell]]
    goals: Sequence[Goal] = field(default=())


def quotient(mine: float, other: float) -> float:
    """Not a number where there is nothing to compare with."""
    return mine / other if other else math.nan


def in_short(value: float) -> str:
    """Three digits that matter, and whole thousands."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def table(findings: Findings) -> Table:
    """The rows, with dashes for what was not measured."""
    columns = list(findings.rows[0])
    rich = Table(columns[0], title=findings.title, title_justify="left")
    for column in columns[1:]:
        rich.add_column(column, justify="right")
    for row in findings.rows:
        rich.add_row(*(_text(row[column]) for column in columns))
    return rich


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    return in_short(cell) if isinstance(cell, int | float) else str(cell)


def goals_table(goals: Iterable[Goal]) -> Table:
    """Each goal with what was found, misses in red."""
    rich = Table("goal", "wanted", "found", "", title="Goals", title_justify="left")
    for goal in goals:
        verdict = "met" if goal.met else "[red]missed[/red]"
        rich.add_row(goal.what, goal.wanted, f"{in_short(goal.found)} {goal.unit}".rstrip(), verdict)
    return rich


def as_json(findings: Findings) -> dict[str, Any]:
    """The same, with every round of a figure."""
    rows = [{column: _plain(cell) for column, cell in row.items()} for row in findings.rows]
    goals = [
        {"what": goal.what, "wanted": goal.wanted, "found": goal.found, "met": goal.met} for goal in findings.goals
    ]
    return {"title": findings.title, "rows": rows, "goals": goals}


def _plain(cell: Cell) -> Any:
    return {"median": cell.median, "rounds": cell.values} if isinstance(cell, Spread) else cell
