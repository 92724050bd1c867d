"""Sums bookings and adds them to totals, series and minutes, in the caller's transaction."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import add

from receiver.events import STEP_NONE
from receiver.figures import FIGURES, MINUTE_MS, NOTHING, QUARTER_MS, Booking, Row
from receiver.storage.sqlite.queries import padded, queries, write_rows

WHOLE_CAMPAIGN = -1
MINUTES_KEPT_MS = 12 * 3_600_000

_MINUTE_FIGURES = [FIGURES.index(name) for name in ("sent", "bounced", "bounced_soft", "replied", "replied_human")]
_SENT = FIGURES.index("sent")


def minute_horizon(now_ms: int) -> int:
    """The oldest minute to keep."""
    return (now_ms - MINUTES_KEPT_MS) // MINUTE_MS


_Place = tuple[int, ...]


class Rollups:
    """Differences that one batch makes, by (campaign, step, minute); `write` adds them where they belong.

    Minutes before `minutes_since` are forgotten and stay so. `baselines` are moments of
    campaigns' first snapshots (epoch milliseconds): what lies before them is counted apart.
    """

    def __init__(self, minutes_since: int, baselines: Mapping[int, Sequence[int]]) -> None:
        self._minutes_since = minutes_since
        self._baselines = baselines
        self._before: dict[_Place, Row] = {}
        self._rows: dict[tuple[int, int, int], Row] = {}

    def book(self, campaign: int, step: int | None, bookings: Iterable[Booking]) -> None:
        step = STEP_NONE if step is None else step
        baselines = self._baselines.get(campaign, ())
        for at, row in bookings:
            for baseline in baselines:
                if at <= baseline:
                    _merge(self._before, (campaign, baseline), row)
            place = (campaign, step, at // MINUTE_MS)
            held = self._rows.get(place)
            self._rows[place] = row if held is None else tuple(map(add, held, row))

    def unbook(self, campaign: int, step: int | None, bookings: Iterable[Booking]) -> None:
        self.book(campaign, step, [Booking(at, tuple(-value for value in row)) for at, row in bookings])

    def write(self, conn: sqlite3.Connection) -> None:
        """Add everything up."""
        totals: dict[_Place, Row] = {}
        series: dict[_Place, Row] = {}
        minutes: dict[_Place, Row] = {}
        for (campaign, step, minute), row in self._rows.items():
            _merge(totals, (campaign, WHOLE_CAMPAIGN), row)
            _merge(totals, (campaign, step), row)
            _merge(series, (campaign, step, minute * MINUTE_MS // QUARTER_MS), row)
            if minute >= self._minutes_since:
                _merge(minutes, (campaign, minute), row)
        write_rows(conn, "add_totals", _changed(totals))
        write_rows(conn, "add_series", _changed(series))
        write_rows(conn, "add_minutes", [minute_row(place, row) for place, row in minutes.items()])
        before = [(*counts(row), *place) for place, row in self._before.items() if row != NOTHING]
        conn.executemany(queries("ingest.sql")["add_baseline"], before)
        moved = {campaign for (campaign, _), row in totals.items() if row[_SENT]}
        set_contacted(conn, moved)


def set_contacted(conn: sqlite3.Connection, campaigns: Collection[int]) -> None:
    """Set `contacted` of these campaigns to the sends of their lowest steps."""
    for chunk in padded(campaigns):
        conn.execute(queries("ingest.sql").with_list("set_contacted", len(chunk)), chunk)


def minute_row(place: _Place, row: Row) -> tuple[int, ...]:
    return (*place, *counts(row))


def counts(row: Row) -> tuple[int, ...]:
    """The figures that Leadterra has counters for, with what tells their definitions apart."""
    return tuple(row[index] for index in _MINUTE_FIGURES)


def _merge(rows: dict[_Place, Row], place: _Place, row: Row) -> None:
    held = rows.get(place)
    rows[place] = row if held is None else tuple(map(add, held, row))


def _changed(rows: dict[_Place, Row]) -> list[tuple[int, ...]]:
    return [(*place, *row) for place, row in rows.items() if row != NOTHING]
