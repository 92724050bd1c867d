"""Sums bookings and adds them to totals, series, days, shifts, bounces and minutes, in the caller's transaction."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import add
from typing import TypeVar

from receiver.events import STEP_NONE, Message
from receiver.figures import (
    FIGURES,
    MINUTE_MS,
    NOTHING,
    QUARTER_MS,
    QUARTERS_PER_DAY,
    SHIFTED,
    Booking,
    Row,
    bounce_bookings,
    message_bookings,
    message_shifts,
    shifts,
)
from receiver.reasons import reason_class
from receiver.storage.sqlite.queries import padded, queries, write_rows

WHOLE_CAMPAIGN = -1  # in place of a step
WHOLE_WORKSPACE = 0  # in place of a campaign, in series, days and shifts
MINUTES_KEPT_MS = 12 * 3_600_000

_MINUTE_FIGURES = [FIGURES.index(name) for name in ("sent", "bounced", "bounced_soft", "replied", "replied_human")]
_SENT = FIGURES.index("sent")
_HARD, _SOFT = FIGURES.index("bounced_hard"), FIGURES.index("bounced_soft")
_UNSENT = SHIFTED.index("bounced_unsent")

Place = tuple[int, ...]
BouncePlace = tuple[int, int, int, str, str]
_P = TypeVar("_P", bound=tuple[int | str, ...])


def minute_horizon(now_ms: int) -> int:
    """The oldest minute to keep."""
    return (now_ms - MINUTES_KEPT_MS) // MINUTE_MS


class Rollups:
    """Differences that one batch makes; `write` adds them where they belong.

    Minutes before `minutes_since` are forgotten and stay so. `baselines` are moments of
    campaigns' first snapshots (epoch milliseconds): what lies before them is counted apart.
    """

    def __init__(self, minutes_since: int, baselines: Mapping[int, Sequence[int]]) -> None:
        self._minutes_since = minutes_since
        self._baselines = baselines
        self._before: dict[Place, Row] = {}
        self._rows: dict[tuple[int, int, int], Row] = {}  # by campaign, step, minute
        self._shifts: dict[Place, Row] = {}  # by campaign, step, quarter
        self._bounces: dict[BouncePlace, Row] = {}

    def book_message(self, campaign: int, message: Message) -> None:
        self.book(campaign, message.step, message_bookings(message))
        if message.bounced_at is not None:
            self._shift(campaign, message.step, message_shifts(message))
            for place, row in bounce_rows(campaign, message):
                _merge(self._bounces, place, row)

    def unbook_message(self, campaign: int, message: Message) -> None:
        self.book(campaign, message.step, _negative(message_bookings(message)))
        if message.bounced_at is not None:
            self._shift(campaign, message.step, _negative(message_shifts(message)))
            for place, (hard, soft) in bounce_rows(campaign, message):
                _merge(self._bounces, place, (-hard, -soft))

    def book_reply(self, campaign: int, step: int | None, bookings: Iterable[Booking], sent_at: int | None) -> None:
        """Book a reply, or the lead that it counts; `sent_at` is that of the message it answers."""
        held = list(bookings)
        self.book(campaign, step, held)
        self._shift(campaign, step, shifts(held, sent_at))

    def unbook_reply(self, campaign: int, step: int | None, bookings: Iterable[Booking], sent_at: int | None) -> None:
        self.book_reply(campaign, step, _negative(bookings), sent_at)

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

    def _shift(self, campaign: int, step: int | None, bookings: Iterable[Booking]) -> None:
        step = STEP_NONE if step is None else step
        for at, row in bookings:
            _merge(self._shifts, (campaign, step, at // QUARTER_MS), row)

    def write(self, conn: sqlite3.Connection) -> None:
        """Add everything up."""
        totals: dict[Place, Row] = {}
        series: dict[Place, Row] = {}
        days: dict[Place, Row] = {}
        minutes: dict[Place, Row] = {}
        for (campaign, step, minute), row in self._rows.items():
            _merge(totals, (campaign, WHOLE_CAMPAIGN), row)
            _merge(totals, (campaign, step), row)
            quarter = minute * MINUTE_MS // QUARTER_MS
            _merge(series, (campaign, step, quarter), row)
            _merge(days, (campaign, step, quarter - quarter % QUARTERS_PER_DAY), row)
            if minute >= self._minutes_since:
                _merge(minutes, (campaign, minute), row)
        write_rows(conn, "add_totals", _changed(totals))
        write_rows(conn, "add_series", _changed(_with_workspace(series)))
        write_rows(conn, "add_days", _changed(_with_workspace(days)))
        write_rows(conn, "add_minutes", [minute_row(place, row) for place, row in minutes.items()])
        self._write_shifts(conn)
        write_rows(conn, "add_bounces", _changed(self._bounces))
        before = [(*counts(row), *place) for place, row in self._before.items() if row != NOTHING]
        conn.executemany(queries("ingest.sql")["add_baseline"], before)
        moved = {campaign for (campaign, _), row in totals.items() if row[_SENT]}
        set_contacted(conn, moved)

    def _write_shifts(self, conn: sqlite3.Connection) -> None:
        """The rows of totals that this adds to are there: a bounce has booked an attempt in them."""
        unsent: dict[Place, Row] = {}
        for (campaign, step, _), row in self._shifts.items():
            _merge(unsent, (campaign, WHOLE_CAMPAIGN), row[_UNSENT:])
            _merge(unsent, (campaign, step), row[_UNSENT:])
        write_rows(conn, "add_unsent", _changed(unsent))
        write_rows(conn, "add_shifts", _changed(_with_workspace(self._shifts)))


def bounce_rows(campaign: int, message: Message) -> Iterator[tuple[BouncePlace, Row]]:
    """Where one message counts in `bounces`, all of it under its one reason: bounced hard, bounced soft."""
    step = STEP_NONE if message.step is None else message.step
    reason, domain = reason_class(message.reason) or "", message.domain or ""
    for at, row in bounce_bookings(message):
        yield (campaign, step, at // QUARTER_MS, reason, domain), (row[_HARD], row[_SOFT])


def set_contacted(conn: sqlite3.Connection, campaigns: Collection[int]) -> None:
    """Set `contacted` of these campaigns to the sends of their lowest steps."""
    for chunk in padded(campaigns):
        conn.execute(queries("ingest.sql").with_list("set_contacted", len(chunk)), chunk)


def minute_row(place: Place, row: Row) -> tuple[int, ...]:
    """What `minutes` holds of a booking."""
    return (*place, *counts(row))


def counts(row: Row) -> tuple[int, ...]:
    """The figures that Leadterra has counters for, with what tells their definitions apart."""
    return tuple(row[index] for index in _MINUTE_FIGURES)


def _negative(bookings: Iterable[Booking]) -> list[Booking]:
    return [Booking(at, tuple(-value for value in row)) for at, row in bookings]


def _with_workspace(rows: dict[Place, Row]) -> dict[Place, Row]:
    """The rows of campaigns, and their sums."""
    workspace: dict[Place, Row] = {}
    for (_, step, quarter), row in rows.items():
        _merge(workspace, (WHOLE_WORKSPACE, step, quarter), row)
    return rows | workspace


def _merge(rows: dict[_P, Row], place: _P, row: Row) -> None:
    held = rows.get(place)
    rows[place] = row if held is None else tuple(map(add, held, row))


def _changed(rows: dict[_P, Row]) -> list[tuple[int | str, ...]]:
    return [(*place, *row) for place, row in rows.items() if any(row)]
