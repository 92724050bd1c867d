"""A ledger in a temporary folder, bodies as Leadterra posts them, and what the tables say in plain values."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from receiver.events import STEP_NONE
from receiver.figures import FIGURES
from receiver.storage.deliveries import Delivery, Refusals, Stretch
from receiver.storage.sqlite.connection import open_for_reading, open_for_writing
from receiver.storage.sqlite.fingerprints import agree
from receiver.storage.sqlite.ledger import Ledger
from receiver.storage.sqlite.migrate import migrate
from receiver.storage.sqlite.recount import Correction, Progress, correct, recount
from receiver.storage.sqlite.spans import measure_spans
from receiver.storage.sqlite.verify import JournalCheck, check_journal

DAY = "2025-06-11"
NOW = 1_749_634_200_000  # 2025-06-11T09:30:00Z
STRETCH = Stretch(NOW, NOW)


def moment(clock_time: str) -> str:
    """`09:14` or `09:14:32.5` of the test's day as Leadterra writes it; longer texts as they are."""
    if "T" in clock_time:
        return clock_time
    return f"{DAY}T{clock_time}:00Z" if len(clock_time) == 5 else f"{DAY}T{clock_time}Z"


def ms(clock_time: str) -> int:
    """The same in epoch milliseconds."""
    return round(datetime.fromisoformat(moment(clock_time)).timestamp() * 1000)


def body(event: str, at: str, **data: object) -> bytes:
    """One webhook body; fields that are None are left out."""
    given = {name: value for name, value in data.items() if value is not None}
    return json.dumps({"event": event, "timestamp": moment(at), "data": given}).encode()


def sent(
    message: str = "m1",
    at: str = "09:00",
    campaign: str | None = "a",
    step: int | None = 1,
    to: str | None = None,
) -> bytes:
    return body("message.sent", at, messageId=message, campaignId=campaign, sequenceStep=step, email=to)


def bounced(
    message: str = "m1",
    at: str = "09:05",
    kind: str = "hard",
    campaign: str | None = None,
    step: int | None = None,
    reason: str | None = None,
    to: str | None = None,
) -> bytes:
    fields = {"messageId": message, "bounceType": kind, "campaignId": campaign, "email": to}
    return body("message.bounced", at, **fields, sequenceStep=step, bounceReason=reason)


def replied(
    reply: str | None = "r1",
    at: str = "09:20",
    campaign: str | None = "a",
    lead: str | None = "jo@example.org",
    message: str | None = None,
    kind: str | None = None,
) -> bytes:
    fields = {"id": reply, "campaignId": campaign, "email": lead, "classification": kind}
    given = {name: value for name, value in fields.items() if value is not None}
    return body("reply.received", at, reply=given, messageId=message)


def add_slow_table(path: Path, rows: int) -> None:
    """A table in which to look takes some 30 ms a row, though it is small."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("CREATE TABLE slow (bytes)")
        conn.execute("BEGIN")
        conn.executemany("INSERT INTO slow VALUES (?)", [(10_000_000,)] * rows)
        conn.execute("COMMIT")
        conn.execute("PRAGMA writable_schema = ON")  # adding the column otherwise would look at it at once
        cost = "cost GENERATED ALWAYS AS (length(hex(zeroblob(bytes)))) VIRTUAL NOT NULL"
        conn.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'slow'", (f"CREATE TABLE slow (bytes, {cost})",))


def started(campaign: str = "a", at: str = "08:00") -> bytes:
    return body("campaign.started", at, campaignId=campaign)


class LedgerUnderTest:
    """The writing side of one database, and its tables read back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = NOW
        self.open()

    def open(self) -> None:
        self.conn = open_for_writing(self.path)
        migrate(self.conn, str(self.path), NOW)
        self.ledger = Ledger(self.conn)

    def restart(self) -> None:
        self.conn.close()
        self.open()

    def delivery(self, raw: bytes) -> Delivery:
        return Delivery(raw, self.now, self.ledger.parser.parse(raw, self.now))

    def deliver(self, *bodies: bytes) -> list[str]:
        """The outcomes of one batch."""
        deliveries = [self.delivery(raw) for raw in bodies]
        return [str(outcome) for outcome in self.commit(deliveries, STRETCH)]

    def each(self, *bodies: bytes) -> list[str]:
        """The outcomes of bodies that come one by one."""
        return [outcome for raw in bodies for outcome in self.deliver(raw)]

    def commit(self, deliveries: list[Delivery], stretch: Stretch, refusals: Refusals | None = None) -> Any:
        return self.ledger.commit(self.conn, deliveries, self.now, stretch, refusals)

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self.conn.execute(statement, values).fetchall()

    def totals(self, campaign: str = "a", step: int | None = -1) -> dict[str, int]:
        """The figures that are not 0, of the whole campaign or of one step."""
        columns = ("contacted", *FIGURES)
        found = self.rows(
            f"SELECT {', '.join(columns)} FROM totals JOIN campaigns ON id = campaign"
            " WHERE campaign_id = ? AND step = ?",
            campaign,
            STEP_NONE if step is None else step,
        )
        return _not_zero(columns, found[0]) if found else {}

    def series(self, campaign: str = "a") -> dict[tuple[str, int | None], dict[str, int]]:
        """By the clock time that begins the quarter of an hour, and step."""
        found = self.rows(
            f"SELECT quarter, step, {', '.join(FIGURES)} FROM series JOIN campaigns ON id = campaign"
            " WHERE campaign_id = ? ORDER BY quarter, step",
            campaign,
        )
        rows = {
            (_clock_time(row[0] * 900), None if row[1] == STEP_NONE else row[1]): _not_zero(FIGURES, row[2:])
            for row in found
        }
        return {place: figures for place, figures in rows.items() if figures}

    def minutes(self, campaign: str = "a") -> dict[str, dict[str, int]]:
        columns = ("sent", "bounced", "bounced_soft", "replied", "replied_human")
        found = self.rows(
            f"SELECT minute, {', '.join(columns)} FROM minutes JOIN campaigns ON id = campaign WHERE campaign_id = ?",
            campaign,
        )
        rows = {_clock_time(row[0] * 60): _not_zero(columns, row[1:]) for row in found}
        return {minute: figures for minute, figures in rows.items() if figures}

    def span(self, campaign: str = "a") -> tuple[int | None, int | None]:
        """The first and the last event of a campaign."""
        self.narrow()
        statement = "SELECT first_event_at, last_event_at FROM campaigns WHERE campaign_id = ?"
        first, last = self.rows(statement, campaign)[0]
        return first, last

    def quarantined(self) -> list[str]:
        """The reasons of what is listed, in the order of arrival."""
        return [row[0] for row in self.rows("SELECT reason FROM quarantine WHERE resolved_at IS NULL ORDER BY id")]

    def journal_copies(self) -> list[int]:
        """How often each event was delivered, in the order of arrival."""
        return [row[0] for row in self.rows("SELECT copies FROM journal WHERE role = 1 ORDER BY seq")]

    def narrow(self) -> None:
        """What a reading connection does beside the writer: measure spans that may be too wide."""
        with closing(open_for_reading(self.path)) as reader:
            self.ledger.narrow_spans(self.conn, measure_spans(reader))

    def recount(self) -> Correction:
        """What a recount finds, which fingerprints must tell beforehand."""
        correction = self._recount()
        with closing(open_for_reading(self.path)) as reader:
            assert agree(reader, Progress()) is (correction.rows == 0)
        return correction

    def _recount(self) -> Correction:
        with closing(open_for_reading(self.path)) as reader:
            return recount(reader, Progress())

    def repair(self) -> int:
        """How many rows were wrong; they are right afterwards."""
        correction = self._recount()
        correct(self.conn, correction)
        self.narrow()
        return correction.rows

    def check_journal(self) -> JournalCheck:
        with closing(open_for_reading(self.path)) as reader:
            return check_journal(reader, Progress())


def _not_zero(columns: tuple[str, ...], row: tuple[int, ...]) -> dict[str, int]:
    return {name: value for name, value in zip(columns, row, strict=True) if value}


def _clock_time(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%H:%M")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerUnderTest]:
    under_test = LedgerUnderTest(tmp_path / "receiver.db")
    yield under_test
    if not under_test_closed(under_test.conn):
        assert under_test.repair() == 0, "a test left figures behind that the ledger does not bear out"
    under_test.conn.close()


def under_test_closed(conn: sqlite3.Connection) -> bool:
    try:
        conn.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False
