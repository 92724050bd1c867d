"""The step that writes the messages anew: the same ledger in fewer bytes, whole or not at all."""

import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from receiver.events import STEP_NONE
from receiver.storage.sqlite.connection import open_for_writing
from receiver.storage.sqlite.migrate import migrate, steps, version
from receiver.storage.sqlite.numbers import CampaignNumbers
from receiver.storage.sqlite.queries import select_by_keys
from receiver.storage.sqlite.recount import Correction
from receiver.storage.sqlite.rows import MessageRow
from tests.storage.conftest import LedgerUnderTest, bounced, replied, sent, started
from tests.storage.earlier import of_version
from tests.storage.test_migrate import NOW, killed, moments, watched

AT = 1_749_632_400_000
COLUMNS = (
    "key, campaign, step, sent_at, first_received_at, sent_seq, domain, soft_at, hard_at, soft_seq, hard_seq,"
    " soft_reason, hard_reason"
)
# As version 5 held them.
SEND = (b"\1", 1, 1, AT, AT + 700, 1, "example.org", None, None, None, None, None, None)
SEND_WITHOUT_DOMAIN = (b"\2", 2, STEP_NONE, AT, AT - 3, 2, None, None, None, None, None, None, None)
BOUNCE = (b"\3", 1, 2, None, AT + 60_005, None, "example.net", None, AT + 60_000, None, 3, None, "unknown")
WAITING = (b"\4", None, STEP_NONE, None, AT + 9, None, "example.org", AT + 5, None, 4, None, "full", None)
WAITING_TWICE = (b"\5", None, STEP_NONE, None, AT + 9, None, None, AT + 7, AT + 6, 5, 6, None, None)
BOTH = (b"\6", 1, 3, AT, AT + 40, 9, "a.example", AT + 30, AT + 50, 7, 8, "full", "unknown")
BOUNCE_BEFORE_SEND = (b"\7", 1, 1, AT, AT + 1, 11, "example.net", None, AT - 4_000, None, 10, None, "blocked")
EXPIRED = (b"\10", 2, 1, AT, AT + 200, None, "example.org", None, None, None, None, None, None)
ALL = [SEND, SEND_WITHOUT_DOMAIN, BOUNCE, WAITING, WAITING_TWICE, BOTH, BOUNCE_BEFORE_SEND, EXPIRED]
HISTORY = [
    started(),
    sent("m1", to="jo@example.org"),
    sent("m1", "08:59", to="jo@example.net"),
    sent("m2", "09:16", step=None),
    bounced("m2", "09:17", kind="soft", to="al@example.net", reason="full"),
    bounced("m2", "09:15", to="al@sub.example.org", reason="550 5.1.1 unknown"),
    bounced("m3", to="al@example.org", reason="refused"),
    bounced("m4", campaign="b", to="al@a.example"),
    replied("r1", message="m1"),
]


def keep(path: Path, rows: list[tuple[Any, ...]]) -> None:
    """A database of version 5 with these messages."""
    of_version(5, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.executemany("INSERT INTO campaigns (id, campaign_id) VALUES (?, ?)", [(1, "a"), (2, "b")])
        marks = ", ".join("?" * len(rows[0]))
        old.executemany(f"INSERT INTO messages ({COLUMNS}) VALUES ({marks})", rows)


def loaded(conn: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """All messages as the writer reads them, in the form of version 5."""
    numbers = CampaignNumbers()
    found = []
    for row in sorted(select_by_keys(conn, "load_messages", [row[0] for row in ALL])):
        message = MessageRow.load(conn, numbers, row)
        assert message.campaign == {1: "a", 2: "b", None: None}[row[1]]
        place = (row[0], row[1], STEP_NONE if message.step is None else message.step, message.sent_at)
        arrived = (message.first_received_at, message.sent_seq, message.domain, message.soft_at, message.hard_at)
        found.append((*place, *arrived, message.soft_seq, message.hard_seq, message.soft_reason, message.hard_reason))
    return found


def test_messages_of_every_sort_stay_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    keep(path, ALL)
    with closing(open_for_writing(path)) as conn:
        migrate(conn, "old.db", NOW)
        assert loaded(conn) == ALL
        after = [row[0] for row in conn.execute("SELECT received_after FROM messages ORDER BY key")]
        assert after == [700, -3, 5, 4, 3, 40, 4_001, 200]
        texts = [row[0] for row in conn.execute("SELECT domain FROM domains ORDER BY domain")]
        assert texts == ["a.example", "example.net", "example.org"]


def test_a_message_without_any_time_is_no_obstacle(tmp_path: Path) -> None:
    path, odd = tmp_path / "old.db", (b"\1", 1, 1, None, AT, *[None] * 8)
    keep(path, [odd])
    with closing(open_for_writing(path)) as conn:
        migrate(conn, "old.db", NOW)
        assert loaded(conn) == [odd]


def everything(ledger: LedgerUnderTest) -> dict[str, list[tuple[Any, ...]]]:
    """All tables; the numbers of domains may be others."""
    names = [row[0] for row in ledger.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    rows = {name: ledger.rows(f"SELECT * FROM {name} ORDER BY 1, 2") for name in {*names} - {"messages", "domains"}}
    texts = "SELECT messages.*, domains.domain FROM messages LEFT JOIN domains ON domains.id = messages.domain"
    messages = [row[:8] + row[9:] for row in ledger.rows(f"{texts} ORDER BY key")]
    return {**rows, "messages": messages}


def test_a_ledger_of_the_version_before_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    more = [bounced("m1", "09:40"), sent("m3", "09:02"), sent("m2", "09:14", to="al@a.example")]
    kept = []
    for name in ("never", "upgraded"):
        path = tmp_path / f"{name}.db"
        if name == "upgraded":
            of_version(5, path, *HISTORY)
            with closing(sqlite3.connect(path)) as old:
                assert version(old) == 5
        ledger = LedgerUnderTest(path)
        ledger.each(*(more if name == "upgraded" else [*HISTORY, *more]))
        assert ledger.recount() == Correction()
        assert ledger.check_journal().mismatches == 0
        kept.append(everything(ledger))
        ledger.conn.close()
    never, upgraded = kept
    # Each database has keys of its own, and a start of its own.
    for own in ("meta", "accepting", "replies", "sqlite_sequence"):
        del never[own], upgraded[own]
    assert upgraded == never


def contents(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as conn:
        return [*conn.iterdump(), str(version(conn))]


def test_a_step_that_is_killed_at_any_moment_leaves_the_version_before_or_the_whole_step(tmp_path: Path) -> None:
    path, old, wanted = tmp_path / "a.db", tmp_path / "old.db", len(steps())
    keep(old, ALL)
    before = contents(old)

    def upgrade(kill_at: int | None) -> int:
        shutil.copyfile(old, path)
        with closing(open_for_writing(path)) as conn:
            count = watched(conn, kill_at)
            migrate(conn, "a.db", NOW)
            return next(count)

    stops = []
    for moment in moments(upgrade(None)):
        assert killed(partial(upgrade, moment))
        found = contents(path)
        stops.append(int(found[-1]))
        assert stops[-1] == wanted or found == before
        with closing(open_for_writing(path)) as conn:
            migrate(conn, "a.db", NOW)
            assert loaded(conn) == ALL
    assert {5, wanted} == {*stops}


def test_a_step_that_the_disk_has_no_room_for_leaves_the_version_before_whole(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    keep(path, ALL)
    before = contents(path)
    with closing(open_for_writing(path)) as conn:
        pages = conn.execute("PRAGMA page_count").fetchone()[0]
        conn.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            migrate(conn, "old.db", NOW)
    assert contents(path) == before


def test_the_log_is_short_after_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    keep(path, ALL)
    with closing(open_for_writing(path)) as conn:
        migrate(conn, "old.db", NOW)
        assert path.with_name("old.db-wal").stat().st_size == 0


def test_what_the_step_takes_away_is_overwritten(tmp_path: Path) -> None:
    path, text = tmp_path / "old.db", "refused for jo@example.org"
    keep(path, [*ALL, (b"\11", 1, 1, None, AT, None, None, None, AT, None, 12, None, text)])
    with closing(open_for_writing(path)) as conn:
        migrate(conn, "old.db", NOW)
        conn.execute("DELETE FROM messages WHERE hard_reason = ?", (text,))
    assert text.encode() not in path.read_bytes()
