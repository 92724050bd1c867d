"""Counts the ledger anew and says where totals, series, shifts, bounces, minutes, spans and baselines differ from it.

The count runs on one snapshot of a reading connection, while ingest goes on. Ingest changes ledger and
figures by the same differences, so what was wrong at the snapshot is wrong by the same amount later:
adding the differences in one transaction repairs the figures, and is visible all at once.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from receiver.errors import ReceiverError
from receiver.events import STEP_NONE, Message, Origin
from receiver.figures import (
    MINUTE_MS,
    QUARTER_MS,
    REPLIED,
    REPLIED_HUMAN,
    REPLY,
    STARTED,
    Booking,
    first_replies,
    message_bookings,
    message_shifts,
    shifts,
)
from receiver.storage.sqlite.queries import queries, write_rows
from receiver.storage.sqlite.reconciliation import baseline_times
from receiver.storage.sqlite.rollups import bounce_rows, counts, minute_row, set_contacted
from receiver.storage.sqlite.rows import step_in

CHUNK_ROWS = 50_000
_TABLES = (
    "expected",
    "expected_shifts",
    "expected_bounces",
    "expected_minutes",
    "expected_spans",
    "expected_baselines",
)


class StoppedError(ReceiverError):
    """A long piece of work was asked to stop; nothing was changed."""


@dataclass(slots=True)
class Progress:
    """How far a long piece of work is; written by its thread, read and `stopped` by whoever watches."""

    total: int = 0
    done: int = 0
    stopped: bool = False

    def check(self) -> None:
        """Raises StoppedError once somebody has asked the work to stop."""
        if self.stopped:
            raise StoppedError("The work was stopped.")


@dataclass(slots=True)
class Correction:
    """The rows that differ from the ledger, each with the difference to add."""

    totals: list[tuple[int, ...]] = field(default_factory=list)
    unsent: list[tuple[int, ...]] = field(default_factory=list)
    series: list[tuple[int, ...]] = field(default_factory=list)
    shifts: list[tuple[int, ...]] = field(default_factory=list)
    bounces: list[tuple[int | str, ...]] = field(default_factory=list)
    minutes: list[tuple[int, ...]] = field(default_factory=list)
    contacted: list[int] = field(default_factory=list)
    spans: list[int] = field(default_factory=list)
    baselines: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows differ."""
        return sum(len(getattr(self, name)) for name in self.__dataclass_fields__)


def recount(conn: sqlite3.Connection, progress: Progress) -> Correction:
    """What is to be corrected, as of one snapshot. `conn` must not be in a transaction."""
    sql = queries("recount.sql")
    for name in _TABLES:
        conn.execute(sql[f"drop_{name}"])
        conn.execute(sql[f"create_{name}"])
    conn.execute("BEGIN")
    try:
        progress.total = conn.execute(sql["ledger_rows"]).fetchone()[0]
        minutes_since = _minutes_since(conn)
        _Recount(conn, minutes_since, progress).run()
        return _differences(conn, minutes_since)
    finally:
        conn.execute("ROLLBACK")
        for name in _TABLES:
            conn.execute(sql[f"drop_{name}"])


def _minutes_since(conn: sqlite3.Connection) -> int:
    """The first minute that is still kept, as of the snapshot."""
    row = conn.execute(queries("meta.sql")["load_fact"], {"name": "minutes_since"}).fetchone()
    return 0 if row is None else int(row[0])


def _differences(conn: sqlite3.Connection, horizon_minute: int) -> Correction:
    sql = queries("recount.sql")

    def rows(name: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in conn.execute(sql[name], {"horizon_minute": horizon_minute})]

    return Correction(
        totals=rows("totals_differences"),
        unsent=rows("unsent_differences"),
        series=rows("series_differences"),
        shifts=rows("shifts_differences"),
        bounces=rows("bounces_differences"),
        minutes=rows("minutes_differences"),
        contacted=[row[0] for row in rows("contacted_differences")],
        spans=[row[0] for row in rows("span_differences")],
        baselines=rows("baseline_differences"),
    )


def correct(conn: sqlite3.Connection, correction: Correction) -> None:
    """Add the differences, in one transaction; wrong spans are marked, to be measured after it."""
    sql = queries("ingest.sql")
    conn.execute("BEGIN IMMEDIATE")
    try:
        write_rows(conn, "add_totals", correction.totals)
        write_rows(conn, "add_unsent", correction.unsent)
        write_rows(conn, "add_series", correction.series)
        write_rows(conn, "add_shifts", correction.shifts)
        write_rows(conn, "add_bounces", correction.bounces)
        write_rows(conn, "add_minutes", correction.minutes)
        conn.executemany(sql["add_baseline"], correction.baselines)
        campaigns = {row[0] for row in correction.totals} | set(correction.contacted)
        set_contacted(conn, campaigns)
        conn.executemany(sql["widen_too_far"], [{"id": campaign} for campaign in correction.spans])
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


_Places = Iterable[tuple[int, int, Booking]]


class _Recount:
    """Fills the temporary tables, chunk by chunk."""

    def __init__(self, conn: sqlite3.Connection, minutes_since: int, progress: Progress) -> None:
        self._conn = conn
        self._sql = queries("recount.sql")
        self._horizon_minute = minutes_since
        self._progress = progress
        self._baselines = baseline_times(conn)

    def run(self) -> None:
        self._rows("begin_baselines")
        after = b""
        last = self._conn.execute(self._sql["last_key"]).fetchone()[0]
        while last is not None and after < last:
            values = {"after": after, "rows": CHUNK_ROWS - 1}
            row = self._conn.execute(self._sql["chunk_end"], values).fetchone()
            upto = last if row is None else row[0]
            self._progress.check()
            self._count_messages(after, upto)
            self._progress.done += CHUNK_ROWS
            after = upto
        self._book(self._replies())
        self._book(self._leads())
        self._book((campaign, STEP_NONE, Booking(at, STARTED)) for campaign, at in self._rows("all_starts"))
        self._progress.done = self._progress.total

    def _rows(self, name: str, **values: object) -> sqlite3.Cursor:
        return self._conn.execute(self._sql[name], values)

    def _count_messages(self, after: bytes, upto: bytes) -> None:
        chunk = {"after": after, "upto": upto}
        self._rows("count_plain_series", **chunk)
        self._rows("count_plain_minutes", **chunk, horizon=self._horizon_minute * MINUTE_MS)
        self._rows("measure_plain_spans", **chunk)
        self._rows("count_plain_baselines", **chunk)
        self._book(self._bounced(self._rows("bounced_messages", **chunk).fetchall()))

    def _bounced(self, rows: list[tuple[Any, ...]]) -> _Places:
        for campaign, step, sent_at, soft_at, hard_at, soft_reason, hard_reason, domain in rows:
            message = Message(None, step_in(step), sent_at, soft_at, soft_reason, hard_at, hard_reason, domain)
            for booking in message_bookings(message):
                yield campaign, step, booking
            self._shift(campaign, step, message_shifts(message))
            for place, row in bounce_rows(campaign, message):
                self._conn.execute(self._sql["add_expected_bounce"], (*place, *row))
            # Figures leave out a soft bounce after a hard one, its campaign's span does not.
            times = [at for at in (sent_at, soft_at, hard_at) if at is not None]
            self._conn.execute(self._sql["widen_expected_span"], (campaign, min(times), max(times)))

    def _replies(self) -> _Places:
        for campaign, step, at, sent_at, origin in self._rows("attributed_replies").fetchall():
            if origin == Origin.WEBHOOK:
                yield self._at_send(campaign, step, Booking(at, REPLY), sent_at)
            self._conn.execute(self._sql["widen_expected_span"], (campaign, at, at))

    def _leads(self) -> _Places:
        rows = self._rows("replies_by_lead").fetchall()
        for (campaign, _), group in groupby(rows, key=lambda row: (row[0], row[1])):
            first, first_human = first_replies([tuple(row)[2:] for row in group])
            if first is not None:
                yield self._at_send(campaign, first.step, Booking(first.at, REPLIED), first.sent_at)
            if first_human is not None:
                booking = Booking(first_human.at, REPLIED_HUMAN)
                yield self._at_send(campaign, first_human.step, booking, first_human.sent_at)

    def _at_send(self, campaign: int, step: int, booking: Booking, sent_at: int | None) -> tuple[int, int, Booking]:
        """The booking as it is, once it is noted where its send is."""
        self._shift(campaign, step, shifts([booking], sent_at))
        return campaign, step, booking

    def _shift(self, campaign: int, step: int, bookings: Iterable[Booking]) -> None:
        for at, row in bookings:
            self._conn.execute(self._sql["add_expected_shift"], (campaign, step, at // QUARTER_MS, *row))

    def _book(self, places: _Places) -> None:
        for campaign, step, (at, row) in places:
            self._progress.check()
            place = (campaign, step, at // QUARTER_MS)
            self._conn.execute(self._sql["add_expected"], (*place, *row))
            minute = at // MINUTE_MS
            if minute >= self._horizon_minute:
                self._conn.execute(self._sql["add_expected_minute"], minute_row((campaign, minute), row))
            for baseline in self._baselines.get(campaign, ()):
                if at <= baseline:
                    self._conn.execute(self._sql["add_expected_baseline"], (*counts(row), campaign, baseline))
            self._conn.execute(self._sql["widen_expected_span"], (campaign, at, at))
