"""Fingerprints: equal on a right ledger, different after any change of any figure at any place."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import product
from typing import Any

import pytest

from receiver.events import Message
from receiver.figures import QUARTER_MS, bounce_bookings, message_bookings, message_shifts
from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.fingerprints import agree, corrections
from receiver.storage.sqlite.queries import queries
from receiver.storage.sqlite.recount import Correction, Progress, StoppedError
from receiver.storage.sqlite.shapes import message_shapes
from tests.storage.conftest import NOW, LedgerUnderTest, sent
from tests.storage.test_recount import HISTORY, with_baselines

PLACES = ("campaign", "step", "quarter", "minute", "at", "reason", "domain")
TABLES = ("totals", "series", "days", "shifts", "bounces", "minutes", "baseline_ledgers")


def agrees(ledger: LedgerUnderTest, progress: Progress | None = None) -> bool:
    with closing(open_for_reading(ledger.path)) as reader:
        return agree(reader, progress or Progress())


def columns(ledger: LedgerUnderTest, table: str) -> list[str]:
    return [row[1] for row in ledger.rows(f"PRAGMA table_info({table})")]


@contextmanager
def changed(ledger: LedgerUnderTest, table: str, change: str) -> Iterator[None]:
    ledger.conn.execute(f"CREATE TEMP TABLE saved AS SELECT * FROM main.{table}")
    ledger.conn.execute(f"UPDATE {table} SET {change} WHERE campaign = 1")
    yield
    ledger.conn.executescript(f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM saved; DROP TABLE saved")


@pytest.mark.parametrize("table", TABLES)
def test_a_change_of_any_figure_is_seen(ledger: LedgerUnderTest, table: str) -> None:
    with_baselines(ledger)
    assert agrees(ledger)
    for column in columns(ledger, table):
        if column not in PLACES:
            for difference in ("+ 1", "- 1", "+ 4611686018427387904"):
                with changed(ledger, table, f"{column} = {column} {difference}"):
                    assert not agrees(ledger), f"{table}.{column} {difference}"
    assert agrees(ledger)


@pytest.mark.parametrize("table", ["totals", "series", "days", "shifts", "bounces", "minutes"])
def test_figures_that_have_moved_to_another_place_are_seen(ledger: LedgerUnderTest, table: str) -> None:
    ledger.deliver(*HISTORY)
    for place in PLACES[:4]:
        for difference in (1000, 10**6):
            if place in columns(ledger, table):
                with changed(ledger, table, f"{place} = {place} + {difference}"):
                    assert not agrees(ledger), f"{table}.{place} + {difference}"
    assert agrees(ledger)


@pytest.mark.parametrize(
    "damage",
    [
        *(f"INSERT INTO {table} VALUES (1, -1, 1944034, 7{', 0' * 9})" for table in ("series", "days", "shifts")),
        "INSERT INTO bounces VALUES (1, 1, 1944034, 'x', 'y', 1, 0)",
        f"INSERT INTO baseline_ledgers VALUES (0, {NOW}, 5, 0, 0, 0, 0)",
        f"INSERT INTO totals VALUES (77, -1{', 0' * 10}, 5, 0, 0)",
        "UPDATE totals SET attempted = 4611686018427387904 WHERE step = -1",
        "UPDATE series SET sent = sent + 2147483647 WHERE campaign = 1",
        *(
            f"UPDATE campaigns SET {end}_event_at = {end}_event_at {change} WHERE id = 1"
            for end in ("first", "last")
            for change in ("- 1", "+ 1", "- 86400000", "+ 864000000000", "+ NULL")
        ),
    ],
)
def test_what_no_ledger_could_make_is_seen(ledger: LedgerUnderTest, damage: str) -> None:
    with_baselines(ledger)
    ledger.conn.execute(damage)
    assert not agrees(ledger)
    assert ledger.repair() > 0
    assert agrees(ledger)


def test_figures_that_were_exchanged_are_seen(ledger: LedgerUnderTest) -> None:
    """Sums by campaign, by step and by time stay the same."""
    ledger.deliver(
        *[
            sent(f"m{number}{campaign}", clock, campaign=campaign)
            for number, (campaign, clock) in enumerate(product("ab", ("09:01", "09:16")))
        ]
    )
    assert agrees(ledger)
    ledger.conn.execute("UPDATE series SET sent = sent + iif(campaign % 2 = quarter % 2, 1, -1) WHERE campaign > 0")
    assert not agrees(ledger)
    ledger.repair()


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_chunks_of_any_size_add_up(ledger: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("receiver.storage.sqlite.recount.CHUNK_ROWS", chunk)
    with_baselines(ledger)
    progress = Progress()
    assert agrees(ledger, progress)
    assert (progress.done, progress.total) == (13, 13)


def test_it_leaves_nothing_behind(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY)
    with closing(open_for_reading(ledger.path)) as reader:
        assert agree(reader, Progress())
        assert agree(reader, Progress())
        assert reader.execute("SELECT count(*) FROM sqlite_temp_schema").fetchone()[0] == 0
        assert not reader.in_transaction


def test_both_sides_see_one_moment_while_ingest_goes_on(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY)
    delivered: list[object] = []

    def deliver(statement: str) -> None:
        if statement == "BEGIN" and len(delivered) < 3:
            delivered.append(ledger.deliver(sent(f"between{len(delivered)}")))
        elif "weigh_plain" in statement:
            ledger.deliver(sent("later"))

    with closing(open_for_reading(ledger.path)) as reader:
        progress = Progress()
        reader.set_trace_callback(deliver)
        assert agree(reader, progress)
    assert progress.total == 11 + 3


def test_nothing_is_counted_when_they_agree(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY)
    with closing(open_for_reading(ledger.path)) as reader:
        statements: list[str] = []
        reader.set_trace_callback(statements.append)
        assert corrections(reader, Progress()) == Correction()
        assert not [text for text in statements if "count_plain_series" in text]


def test_what_differs_is_found_by_a_recount(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY)
    ledger.conn.execute("UPDATE totals SET sent = sent + 1 WHERE step = -1")
    progress = Progress()
    with closing(open_for_reading(ledger.path)) as reader:
        assert corrections(reader, progress).rows == 2
    assert (progress.done, progress.total) == (11, 11)
    ledger.repair()


def test_it_stops_when_it_is_asked_to(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY)
    progress = Progress()
    progress.stopped = True
    with closing(open_for_reading(ledger.path)) as reader:
        with pytest.raises(StoppedError):
            agree(reader, progress)
        assert not reader.in_transaction


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def endless(ledger: LedgerUnderTest) -> Iterator[LedgerUnderTest]:
    """The figures take for ever to be added up."""
    ledger.deliver(*HISTORY)
    with pytest.MonkeyPatch.context() as patch:
        held = "receiver.storage.sqlite.fingerprints._Held.fingerprint"
        patch.setattr(held, lambda side: side._conn.execute(ENDLESS).fetchone())
        yield ledger


def test_both_sides_stop_when_they_are_asked_to(endless: LedgerUnderTest) -> None:
    progress = Progress()

    def stop(statement: str) -> None:
        progress.stopped = "bounces_equal" in statement or progress.stopped

    with closing(open_for_reading(endless.path)) as reader:
        reader.set_trace_callback(stop)
        with pytest.raises(StoppedError):
            agree(reader, progress)
        assert not reader.in_transaction


def test_the_side_that_runs_beside_is_stopped_when_the_first_one_fails(endless: LedgerUnderTest) -> None:

    def interrupt(statement: str) -> None:
        if "weigh_plain" in statement:
            reader.interrupt()

    with closing(open_for_reading(endless.path)) as reader:
        reader.set_trace_callback(interrupt)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            agree(reader, Progress())
        assert not reader.in_transaction


def test_what_cannot_be_stored_on_the_way_is_told_and_leaves_nothing(
    ledger: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.deliver(*HISTORY)
    monkeypatch.setattr("receiver.storage.sqlite.fingerprints.REPLIED_SHAPE", {})
    with closing(open_for_reading(ledger.path)) as reader:
        with pytest.raises(sqlite3.Error, match="not supported"):
            agree(reader, Progress())
        assert not reader.in_transaction
        assert reader.execute("SELECT count(*) FROM sqlite_temp_schema").fetchone()[0] == 0


def test_what_the_side_beside_meets_is_raised(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY)
    ledger.conn.execute("ALTER TABLE shifts RENAME TO gone")
    with (
        closing(open_for_reading(ledger.path)) as reader,
        pytest.raises(sqlite3.OperationalError, match="no such table"),
    ):
        agree(reader, Progress())
    ledger.conn.execute("ALTER TABLE gone RENAME TO shifts")


TIMES = [
    times
    for times in product((None, 0, 7 * QUARTER_MS, 8 * QUARTER_MS + 1, 8 * QUARTER_MS + 2), repeat=3)
    if times[1] is not None or times[2] is not None
]


@pytest.mark.parametrize("times", TIMES, ids=str)
def test_a_shape_books_what_its_messages_book(times: tuple[int | None, int | None, int | None]) -> None:
    sent_at, soft_at, hard_at = times
    message = Message(sent_at=sent_at, soft_at=soft_at, hard_at=hard_at)
    number = number_of(times)
    expected: dict[int, list[int]] = {}
    for bookings, offset in ((message_bookings(message), 0), (message_shifts(message), 10), (_bounced(message), 20)):
        for at, row in bookings:
            _add(expected, at, offset, row)
    found: dict[int, list[int]] = {}
    for shape in message_shapes():
        if shape.number == number:
            place = times[shape.place]
            assert place is not None
            _add(found, place, 0, (*shape.figures, *shape.shifted, *shape.bounced))
    assert _not_zero(found) == _not_zero(expected)


def number_of(times: tuple[int | None, ...]) -> int:
    """As SQL numbers it."""
    text = queries("fingerprints.sql")["gather_bounced"]
    expression = text[text.index("64 *") : text.index("reason_class")].rstrip(" \n,")
    with closing(sqlite3.connect(":memory:")) as conn:
        row: tuple[int] = conn.execute(
            f"SELECT {expression} FROM (SELECT ? AS sent_at, ? AS soft_at, ? AS hard_at)", times
        ).fetchone()
    return row[0]


def _bounced(message: Message) -> list[tuple[int, tuple[int, ...]]]:
    return [(at, row[4:6]) for at, row in bounce_bookings(message)]


def _add(sums: dict[int, list[int]], at: int, offset: int, row: tuple[int, ...]) -> None:
    """By quarter of an hour, as shifts within one are none."""
    held = sums.setdefault(at // QUARTER_MS, [0] * 22)
    for index, value in enumerate(row, offset):
        held[index] += value


def _not_zero(sums: dict[int, Any]) -> dict[int, Any]:
    return {at: row for at, row in sums.items() if any(row)}
