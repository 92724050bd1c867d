"""Point reads: answered where they are asked, and handed to a thread as soon as they are none."""

import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from receiver.errors import StorageError
from receiver.storage.sqlite.connection import one_moment
from receiver.storage.sqlite.points import PointReader
from receiver.storage.sqlite.store import Readers
from tests.storage.conftest import LedgerUnderTest, sent

_ENDLESS = "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n) SELECT count(*) FROM n"
_HERE = threading.main_thread()
_HOUR_S = 3600.0
_PAGE_BYTES = 4096


class Asked:
    """A question that notes which threads it is asked on; on this one it may be `slow`."""

    def __init__(self, slow: bool = False) -> None:
        self.threads: list[threading.Thread] = []
        self.slow = slow

    def __call__(self, conn: sqlite3.Connection) -> int:
        self.threads.append(threading.current_thread())
        with one_moment(conn):
            if self.slow and self.threads[-1] is _HERE:
                conn.execute(_ENDLESS).fetchone()
            return int(conn.execute("SELECT count(*) FROM messages").fetchone()[0])

    @property
    def here(self) -> list[bool]:
        return [thread is _HERE for thread in self.threads]


@pytest_asyncio.fixture
async def readers(ledger: LedgerUnderTest) -> AsyncIterator[Readers]:
    ledger.deliver(sent("m1"))
    readers = await Readers.open(ledger.path, count=1)
    yield readers
    await readers.close()


@pytest_asyncio.fixture
async def points(ledger: LedgerUnderTest, readers: Readers) -> AsyncIterator[PointReader]:
    points = PointReader.open(ledger.path, readers, slow_s=_HOUR_S)
    yield points
    points.close()


async def test_it_is_answered_where_it_is_asked_and_sees_what_was_just_committed(
    points: PointReader, ledger: LedgerUnderTest
) -> None:
    asked = Asked()
    assert await points.run(asked) == 1
    ledger.deliver(sent("m2"))
    assert await points.run(asked) == 2
    assert asked.here == [True, True]


async def test_one_that_is_slow_goes_to_a_thread_and_leaves_nothing_behind(
    points: PointReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.storage.sqlite.points._PAUSE_S", 0.0)
    monkeypatch.setattr(points, "_slow_s", 0.01)
    asked = Asked(slow=True)
    assert await points.run(asked) == 1
    assert asked.here == [True, False]
    assert not points._conn.in_transaction
    monkeypatch.setattr(points, "_slow_s", _HOUR_S)
    asked = Asked()
    assert await points.run(asked) == 1
    assert asked.here == [True], "the pause is over"


async def test_after_a_slow_one_the_loop_is_left_alone_for_a_while(
    points: PointReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.storage.sqlite.points._PAUSE_S", _HOUR_S)
    monkeypatch.setattr(points, "_slow_s", 0.01)
    await points.run(Asked(slow=True))
    asked = Asked()
    assert await points.run(asked) == 1
    assert asked.here == [False]


async def test_its_own_refusals_are_not_asked_again(points: PointReader) -> None:
    asked = []

    def refuse(_: sqlite3.Connection) -> None:
        asked.append(1)
        raise KeyError("nobody")

    with pytest.raises(KeyError):
        await points.run(refuse)
    assert asked == [1]


async def test_damage_is_named_as_by_any_reader(points: PointReader, ledger: LedgerUnderTest) -> None:
    ledger.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (page,) = ledger.conn.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'messages'").fetchone()
    sound = ledger.path.read_bytes()
    _write(ledger.path, page, b"\xa5" * _PAGE_BYTES)
    with pytest.raises(StorageError, match="is damaged"):
        await points.run(lambda conn: conn.execute("SELECT sum(step) FROM messages").fetchone())
    begin = (page - 1) * _PAGE_BYTES
    _write(ledger.path, page, sound[begin : begin + _PAGE_BYTES])


def _write(path: Path, page: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * _PAGE_BYTES)
        file.write(content)
