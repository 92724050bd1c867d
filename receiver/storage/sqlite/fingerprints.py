"""Tells by fingerprints whether the figures are what the ledger says: a recount groups millions of rows, this adds.

Every coordinate (campaign, step, quarter of an hour, …) and every figure gets a random number, and every figure at
every place the product of its own. A fingerprint is the sum of all figures so weighed, modulo a prime below 2^31;
that of the ledger is the sum over its bookings, in whatever order they come. Figures that differ anywhere from the
ledger differ by a polynomial in the random numbers that is not zero and of degree five at most, which vanishes for at
most 5 in 2^30 draws (Schwartz and Zippel). Every check draws anew, the prime too: a figure that is wrong by 2^30 or
more may be so by a multiple of it, for one prime in 25 million.
"""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import lru_cache
from itertools import groupby
from math import isqrt
from pathlib import Path
from random import Random
from typing import Any

import orjson

from receiver.figures import (
    FIGURES,
    MINUTE_MS,
    QUARTER_MS,
    QUARTERS_PER_DAY,
    SENT,
    SHIFTED,
    UNPLACED_MS,
    Row,
    first_replies,
)
from receiver.reasons import reason_class
from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.queries import queries
from receiver.storage.sqlite.reconciliation import baseline_times
from receiver.storage.sqlite.recount import Correction, Progress, chunks, minutes_since, recount
from receiver.storage.sqlite.rollups import WHOLE_CAMPAIGN, WHOLE_WORKSPACE, counts
from receiver.storage.sqlite.shapes import REPLIED_HUMAN_SHAPE, REPLIED_SHAPE, Shape, message_shapes, other_shapes

_PRIMES_FROM, _PRIMES_UPTO = 2**30, 2**31
_CACHE_KIB = 32_768
_REASONS_CACHED = 4096
_STEPS_CHECKED = 100_000  # of SQLite's virtual machine, between two looks at whether to stop
# What lies further apart is no time of an event, and no minute that is kept: a recount will tell.
_QUARTERS_MAX = 40 * 366 * QUARTERS_PER_DAY
_MINUTES_MAX = 400 * 1440
_NEVER, _EVER = 2**62, -(2**62)
_WEIGHTS = ("campaign_weights", "step_weights", "quarter_weights", "minute_weights")
_GATHERED = ("shapes", "bounced", "replied", "expected_bounces", "bookings")


def corrections(conn: sqlite3.Connection, progress: Progress) -> Correction:
    """What is to be corrected, as of one snapshot: what a recount finds, which is done only if fingerprints differ.

    `conn` reads and must not be in a transaction.
    """
    return Correction() if agree(conn, progress) else recount(conn, progress)


def agree(conn: sqlite3.Connection, progress: Progress) -> bool:
    """Whether the figures are what the ledger says, as of one snapshot; `conn` must not be in a transaction."""
    seed = os.urandom(32)
    over = threading.Event()
    with closing(_beside(conn)) as beside, _together(conn, beside), ThreadPoolExecutor(1) as pool:
        conn.set_progress_handler(lambda: progress.stopped, _STEPS_CHECKED)
        beside.set_progress_handler(lambda: over.is_set() or progress.stopped, _STEPS_CHECKED)
        try:
            held = pool.submit(lambda: _Held(beside, seed).fingerprint())
            told = _Told(conn, seed, progress).fingerprint()
            return told is not None and told == held.result()
        except sqlite3.OperationalError:
            progress.check()
            raise
        finally:
            over.set()
            conn.set_progress_handler(None, 0)


def _beside(conn: sqlite3.Connection) -> sqlite3.Connection:
    """Another connection to the same database."""
    _, _, path = conn.execute("PRAGMA database_list").fetchone()
    return open_for_reading(Path(path))


@contextmanager
def _together(*conns: sqlite3.Connection) -> Iterator[None]:
    """One snapshot on both connections; temporary tables that are made in it are gone after it."""
    caches = [conn.execute("PRAGMA cache_size").fetchone()[0] for conn in conns]
    for conn in conns:
        for schema in ("main", "temp"):
            conn.execute(f"PRAGMA {schema}.cache_size = -{_CACHE_KIB}")
    try:
        _begin(*conns)
        yield
    finally:
        for conn, cache in zip(conns, caches, strict=True):
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            conn.execute(f"PRAGMA main.cache_size = {cache}")


def _begin(first: sqlite3.Connection, second: sqlite3.Connection) -> None:
    """Begin on both; again, when somebody has committed between them."""
    sql = queries("fingerprints.sql")
    while True:
        version = second.execute(sql["data_version"]).fetchone()[0]
        for conn in (first, second):
            conn.execute("BEGIN")
            conn.execute(sql["begin_snapshot"]).fetchone()
        if second.execute(sql["data_version"]).fetchone()[0] == version:
            return
        for conn in (first, second):
            conn.execute("ROLLBACK")


def _reason_class(text: str | None) -> str:
    return reason_class(text) or ""


class _Side:
    """One side of the comparison. Both draw the same numbers from the same seed, as they see the same snapshot."""

    def __init__(self, conn: sqlite3.Connection, seed: bytes) -> None:
        self._conn = conn
        self._sql = queries("fingerprints.sql")
        self._random = Random(seed)  # noqa: S311 # both sides have to draw the same; the seed is the system's
        self._prime = self._draw_prime()
        self._minutes_since = minutes_since(conn)
        self._figures = {name: self._draw() for name in FIGURES}
        self._shifted = {name: self._draw() for name in SHIFTED}
        self._unsent = {name: self._draw() for name in SHIFTED[-2:]}
        self._minutes = {FIGURES[index]: self._draw() for index in counts(tuple(range(len(FIGURES))))}
        self._days = self._draw()
        self._campaigns: set[int] = set()  # with a span
        self._sound = True
        self._make(*_WEIGHTS)
        self._put_campaigns()
        self._put_steps()
        self._put_times()

    def _draw_prime(self) -> int:
        """One of 50 million: a difference that is a multiple of it would be overlooked; it has at most two such."""
        while True:
            number = self._random.randrange(_PRIMES_FROM + 1, _PRIMES_UPTO, 2)
            if all(number % divisor for divisor in range(3, isqrt(number) + 1, 2)):
                return number

    def _make(self, *tables: str) -> None:
        for table in tables:
            self._rows(f"create_{table}")

    def _draw(self) -> int:
        return self._random.getrandbits(62) % self._prime

    def _put_campaigns(self) -> None:
        times = baseline_times(self._conn)
        self._sound = all(len(held) <= 2 for held in times.values())
        whole = self._draw()
        rows = [(WHOLE_WORKSPACE, whole, whole, _NEVER, _EVER, None, 0, None, 0)]
        for campaign, measured, first, last in self._rows("campaigns"):
            own = self._draw()
            early_at, late_at = [None, None, *times.get(campaign, ())][-2:]
            if measured:
                span = (_EVER, _NEVER)
            elif first is None or last is None:
                self._sound = self._sound and first is last
                span = (_NEVER, _EVER)
            else:
                span = (first, last)
                self._campaigns.add(campaign)
            moments = (early_at, self._draw(), late_at, self._draw())
            rows.append((campaign, own, (own + whole) % self._prime, *span, *moments))
        self._put("put_campaign_weights", rows)

    def _put_steps(self) -> None:
        whole = self._draw()
        rows = [(WHOLE_CAMPAIGN, self._draw(), whole, 2 * whole % self._prime)]  # no ledger has it as a step
        for (step,) in self._rows("steps"):
            own, total = self._draw(), self._draw()
            rows.append((step, own, total, (total + whole) % self._prime))
        self._put("put_step_weights", rows)

    def _put_times(self) -> None:
        """Quarters of an hour and minutes, from the day of the first event to the last."""
        first, last = self._one("quarters")
        if first is None:
            return
        first -= first % QUARTERS_PER_DAY
        per_quarter = QUARTER_MS // MINUTE_MS
        minutes = range(max(self._minutes_since, first * per_quarter), (last + 1) * per_quarter)
        if last - first > _QUARTERS_MAX or len(minutes) > _MINUTES_MAX:
            self._sound = False
            return
        self._put("put_quarter_weights", self._quarters(first, last))
        self._put("put_minute_weights", ((minute, self._draw()) for minute in minutes))

    def _quarters(self, first: int, last: int) -> Iterator[tuple[int, ...]]:
        day = 0
        for quarter in range(first, last + 1):
            own = self._draw()
            if quarter % QUARTERS_PER_DAY == 0:
                day = own * self._days % self._prime
            yield quarter, own, day, (own + day) % self._prime
        unplaced = self._draw()
        yield UNPLACED_MS // QUARTER_MS, unplaced, 0, unplaced

    def _rows(self, name: str, **values: object) -> sqlite3.Cursor:
        return self._conn.execute(self._sql[name], values)

    def _one(self, name: str, **values: object) -> Any:
        return self._rows(name, **values).fetchone()

    def _put(self, name: str, rows: Iterable[tuple[object, ...]]) -> None:
        self._conn.executemany(self._sql[name], rows)


class _Held(_Side):
    """What the figures' tables hold."""

    def fingerprint(self) -> int | None:
        """The sum of all tables; None where a row is one that no ledger could make."""
        if not self._sound:
            return None
        days = {name: weight * self._days % self._prime for name, weight in self._figures.items()}
        in_days = self._sql.by_days(self._sql["weigh_series"])
        weighed = [
            self._one("weigh_series", prime=self._prime, **self._figures),
            self._conn.execute(in_days, {"prime": self._prime, **days}).fetchone(),
            self._one("weigh_shifts", prime=self._prime, **self._shifted),
            self._one("weigh_totals", prime=self._prime, **self._figures, **self._unsent),
            self._one("weigh_minutes", prime=self._prime, **self._minutes, horizon_minute=self._minutes_since),
            self._one("weigh_baselines", prime=self._prime, **self._minutes),
        ]
        if not all(placed for _, placed in weighed):
            return None
        return sum(int(value or 0) for value, _ in weighed) % self._prime


class _Told(_Side):
    """What the ledger says."""

    def __init__(self, conn: sqlite3.Connection, seed: bytes, progress: Progress) -> None:
        super().__init__(conn, seed)
        self._progress = progress
        self._sum = 0
        self._first: set[int | None] = set()
        self._last: set[int | None] = set()
        self._make(*_GATHERED)
        conn.create_function("reason_class", 1, lru_cache(_REASONS_CACHED)(_reason_class), deterministic=True)
        self._put_shapes()

    def fingerprint(self) -> int | None:
        """The sum over all bookings; None where spans or bounces by reason are not what the ledger says."""
        if not self._sound:
            return None
        self._progress.total = self._one("ledger_estimated")[0]
        rows = self._weigh_messages() + self._one("other_rows")[0]
        self._put("gather_replied", self._replied())
        horizon = self._minutes_since * MINUTE_MS
        made = self._one("bookings_made")[0]
        self._take(made, self._one("weigh_bookings", prime=self._prime, horizon=horizon), 1, 1)
        self._progress.total = self._progress.done = rows
        if self._campaigns - self._first or self._campaigns - self._last:
            self._sound = False
        return self._sum % self._prime if self._sound and self._bounces_equal() else None

    def _put_shapes(self) -> None:
        shapes = [*message_shapes(), *other_shapes()]
        self._put("put_shape", (self._weighed(shape) for shape in shapes))

    def _weighed(self, shape: Shape) -> tuple[int, ...]:
        return (
            *(shape.number, shape.place, shape.is_event),
            self._weigh(shape.figures, self._figures),
            self._weigh(shape.shifted, self._shifted),
            self._weigh(shape.shifted[-2:], self._unsent),
            self._weigh(counts(shape.figures), self._minutes),
            *shape.bounced,
        )

    def _weigh(self, row: Row, weights: Mapping[str, int]) -> int:
        return sum(value * weight for value, weight in zip(row, weights.values(), strict=True)) % self._prime

    def _weigh_messages(self) -> int:
        """Plain sends are added up, all else is put aside; how many messages there are."""
        rows = 0
        horizon = self._minutes_since * MINUTE_MS
        plain, in_minutes = self._weigh(SENT, self._figures), self._weigh(counts(SENT), self._minutes)
        for chunk, count in chunks(self._conn):
            special = self._rows("gather_bounced", **chunk).rowcount + self._one("waiting", **chunk)[0]
            found = self._one("weigh_plain", **chunk, prime=self._prime, horizon=horizon)
            self._take(count - special, found, plain, in_minutes)
            rows += count
            self._progress.done = rows
            self._progress.check()
        return rows

    def _take(self, expected: int, found: Sequence[Any], figures: int, minutes: int) -> None:
        """Sums over bookings that count the same: `figures` and `minutes` are the weights of what they count for."""
        placed, in_figures, in_minutes, in_baselines, first, last = found
        self._sum += (in_figures or 0) * figures + ((in_minutes or 0) + (in_baselines or 0)) * minutes
        self._first.update(orjson.loads(first))
        self._last.update(orjson.loads(last))
        self._sound = self._sound and placed == expected and None not in self._first and None not in self._last

    def _replied(self) -> Iterator[tuple[object, ...]]:
        rows = self._conn.execute(queries("recount.sql")["replies_by_lead"])
        for (campaign, _), group in groupby(rows, key=lambda row: (row[0], row[1])):
            firsts = first_replies([tuple(row)[2:] for row in group])
            for shape, reply in zip((REPLIED_SHAPE, REPLIED_HUMAN_SHAPE), firsts, strict=True):
                if reply is not None:
                    yield campaign, reply.step, reply.at, reply.sent_at, shape

    def _bounces_equal(self) -> bool:
        self._rows("expect_bounces")
        expected, equal, held = self._one("bounces_equal")
        return bool(expected == equal == held)
