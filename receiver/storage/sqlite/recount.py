"""Counts the ledger anew and says where the figures differ from it.

The count runs on one snapshot of a reading connection, while ingest goes on. Ingest changes ledger and
figures by the same differences, so what was wrong at the snapshot is wrong by the same amount later:
adding the differences in one transaction repairs the figures, and is visible all at once.

Plain sends, which are most messages, are counted by SQLite; all else is booked as ingest books it. Both fill
temporary tables on disk, so that the memory it takes does not grow with the ledger.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from receiver.errors import ReceiverError
from receiver.events import STEP_NONE, Message, Origin
from receiver.figures import MINUTE_MS, REPLIED, REPLIED_HUMAN, REPLY, STARTED, Booking, first_replies
from receiver.storage.sqlite.queries import queries, write_rows
from receiver.storage.sqlite.reconciliation import baseline_times
from receiver.storage.sqlite.rollups import Rollups, set_contacted
from receiver.storage.sqlite.rows import step_in

CHUNK_ROWS = 250_000
_BOOKED_AT_ONCE = 20_000
# What lies together in the ledger is spread over the series of all campaigns: their pages stay at hand.
_CACHE_KIB = 32_768
_TABLES = ("series", "days", "totals", "shifts", "bounces", "minutes", "baseline_ledgers", "plain", "spans")


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
    days: list[tuple[int, ...]] = field(default_factory=list)
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
    with _counting(conn):
        progress.done, progress.total = 0, conn.execute(queries("recount.sql")["ledger_rows"]).fetchone()[0]
        horizon_minute = minutes_since(conn)
        _Recount(conn, horizon_minute, progress).run()
        return _differences(conn, horizon_minute)


@contextmanager
def _counting(conn: sqlite3.Connection) -> Iterator[None]:
    """One snapshot, and empty temporary tables that are gone after it."""
    sql = queries("recount.sql")
    cache = conn.execute("PRAGMA cache_size").fetchone()[0]
    for schema in ("main", "temp"):
        conn.execute(f"PRAGMA {schema}.cache_size = -{_CACHE_KIB}")
    for name in _TABLES:
        conn.execute(f"DROP TABLE IF EXISTS temp.{name}")
        conn.execute(sql[f"create_{name}"])
    conn.execute("BEGIN")
    try:
        yield
    finally:
        conn.execute("ROLLBACK")
        for name in _TABLES:
            conn.execute(f"DROP TABLE IF EXISTS temp.{name}")
        conn.execute(f"PRAGMA main.cache_size = {cache}")


def minutes_since(conn: sqlite3.Connection) -> int:
    """The first minute that is still kept, as of the snapshot."""
    row = conn.execute(queries("meta.sql")["load_fact"], {"name": "minutes_since"}).fetchone()
    return 0 if row is None else int(row[0])


def chunks(conn: sqlite3.Connection) -> Iterator[tuple[dict[str, bytes], int]]:
    """All messages in ranges of their keys, each with how many there are: `key > :after AND key <= :upto`."""
    sql = queries("recount.sql")
    after = b""
    last = conn.execute(sql["last_key"]).fetchone()[0]
    while last is not None and after < last:
        end = conn.execute(sql["chunk_end"], {"after": after, "rows": CHUNK_ROWS - 1}).fetchone()
        rows = CHUNK_ROWS if end is not None else conn.execute(sql["rows_after"], {"after": after}).fetchone()[0]
        upto = last if end is None else end[0]
        yield {"after": after, "upto": upto}, rows
        after = upto


def _differences(conn: sqlite3.Connection, horizon_minute: int) -> Correction:
    sql = queries("recount.sql")

    def rows(name: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in conn.execute(sql[name], {"horizon_minute": horizon_minute})]

    series = rows("series_differences")
    if series or rows("series_rows_expected") != rows("series_rows_held"):
        series += rows("series_unexpected")
    return Correction(
        totals=rows("totals_differences"),
        unsent=rows("unsent_differences"),
        series=series + rows("workspace_differences"),
        days=rows("days_differences"),
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
        write_rows(conn, "add_days", correction.days)
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


class _Recount:
    """Fills the temporary tables."""

    def __init__(self, conn: sqlite3.Connection, minutes_since: int, progress: Progress) -> None:
        self._conn = conn
        self._sql = queries("recount.sql")
        self._minutes_since = minutes_since
        self._progress = progress
        self._rows("begin_baselines")
        self._baselines = baseline_times(conn)
        self._rollups = Rollups(minutes_since, self._baselines)
        self._booked = 0
        self._spans: dict[int, tuple[int, int]] = {}

    def run(self) -> None:
        for chunk, rows in chunks(self._conn):
            self._count_messages(chunk)
            self._progress.done += rows
            self._progress.check()
        self._book_replies()
        self._book_leads()
        self._book_starts()
        self._sum_up()
        self._progress.done = self._progress.total

    def _rows(self, name: str, **values: object) -> sqlite3.Cursor:
        return self._conn.execute(self._sql[name], values)

    def _count_messages(self, chunk: dict[str, bytes]) -> None:
        self._rows("count_plain_series", **chunk)
        self._rows("count_plain", **chunk)
        self._rows("count_plain_minutes", **chunk, horizon=self._minutes_since * MINUTE_MS)
        if self._baselines:
            self._rows("count_plain_baselines", **chunk)
        for campaign, step, sent_at, soft_at, hard_at, *reasons, domain in self._rows("bounced_messages", **chunk):
            message = Message(None, step_in(step), sent_at, soft_at, reasons[0], hard_at, reasons[1], domain)
            self._rollups.book_message(campaign, message)
            # Figures leave out a soft bounce after a hard one, its campaign's span does not.
            self._note(campaign, [at for at in (sent_at, soft_at, hard_at) if at is not None])

    def _book_replies(self) -> None:
        for campaign, step, at, sent_at, origin in self._rows("attributed_replies"):
            if origin == Origin.WEBHOOK:
                self._rollups.book_reply(campaign, step, [Booking(at, REPLY)], sent_at)
            self._note(campaign, [at])

    def _book_leads(self) -> None:
        rows = self._rows("replies_by_lead")
        for (campaign, _), group in groupby(rows, key=lambda row: (row[0], row[1])):
            first, first_human = first_replies([tuple(row)[2:] for row in group])
            for reply, counted in ((first, REPLIED), (first_human, REPLIED_HUMAN)):
                if reply is not None:
                    self._rollups.book_reply(campaign, reply.step, [Booking(reply.at, counted)], reply.sent_at)
                    self._note(campaign, [reply.at])

    def _book_starts(self) -> None:
        for campaign, at in self._rows("all_starts"):
            self._rollups.book(campaign, STEP_NONE, [Booking(at, STARTED)])
            self._note(campaign, [at])

    def _note(self, campaign: int, times: Iterable[int]) -> None:
        """Events of a campaign are booked."""
        first, last = min(times), max(times)
        held = self._spans.get(campaign)
        self._spans[campaign] = (first, last) if held is None else (min(held[0], first), max(held[1], last))
        self._booked += 1
        if self._booked % _BOOKED_AT_ONCE == 0:
            self._progress.check()
            self._write()

    def _write(self) -> None:
        self._rollups.write(self._conn)
        self._rollups = Rollups(self._minutes_since, self._baselines)

    def _sum_up(self) -> None:
        self._write()
        self._rows("add_plain_days")
        self._rows("add_plain_totals")
        set_contacted(self._conn, [row[0] for row in self._rows("campaigns_counted")])
        self._rows("add_plain_spans")
        self._conn.executemany(self._sql["widen_span"], [(campaign, *span) for campaign, span in self._spans.items()])
