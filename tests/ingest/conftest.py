"""A writer over a real database, with a clock that the test moves."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from receiver.ingest.meters import Meters
from receiver.ingest.soundness import PageCheck
from receiver.ingest.writer import Limits, Writer
from receiver.storage.deliveries import Committed, Delivery, Outcome
from receiver.storage.sqlite.ledger import Ledger
from receiver.storage.sqlite.store import Store
from tests.e2e.server import rows

SECOND_MS = 1000
DAY_MS = 86_400_000
NOW_MS = 1_749_634_200_000  # 2025-06-11T09:30:00Z


class HandClock:
    """Stands still until it is moved; `speed` above 1 makes heartbeats come every real second."""

    def __init__(self, now_ms: int) -> None:
        self.now = now_ms
        self.passed = 0
        self.speed = 1.0

    def now_ms(self) -> int:
        return self.now

    def monotonic_ms(self) -> int:
        return self.passed

    def tick(self, ms: int) -> None:
        """Time passes."""
        self.now += ms
        self.passed += ms

    def jump(self, ms: int) -> None:
        """Somebody sets the machine's clock."""
        self.now += ms


class FaultyStore(Store):
    """A real store whose next commits fail as the given errors say; None is a commit that works."""

    faults: list[Exception | None]

    async def commit(self, *given: Any) -> Committed:
        fault = self.faults.pop(0) if getattr(self, "faults", None) else None
        if fault is not None:
            raise fault
        return await super().commit(*given)


@dataclass
class Ingest:
    """A running writer and what belongs to it."""

    store: Store
    writer: Writer
    clock: HandClock
    meters: Meters
    database: Path = field(init=False)
    page_check: PageCheck = field(init=False)

    def __post_init__(self) -> None:
        self.database = self.store.path
        self.page_check = PageCheck(self.database, [], self.writer)

    def delivery(self, body: bytes) -> Delivery:
        now = self.clock.now_ms()
        return Delivery(body, now, self.store.parser.parse(body, now))

    async def deliver(self, body: bytes) -> Outcome:
        return await self.writer.submit(self.delivery(body))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return rows(self.database, statement)

    async def run_sql(self, statement: str) -> Any:
        """Runs a statement on the writing connection itself, to bring trouble about."""

        def run(_: Ledger, conn: sqlite3.Connection) -> Any:
            return conn.execute(statement).fetchall()

        return await self.store._writing.run(run)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Another connection holds the database's lock."""
        with closing(sqlite3.connect(self.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield


Open = Callable[..., AbstractAsyncContextManager[Ingest]]


@pytest.fixture
def open_ingest(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opened(limits: Limits | None = None, store_type: type[Store] = Store) -> AsyncIterator[Ingest]:
        clock = HandClock(NOW_MS)
        store = await store_type.open(tmp_path / "receiver.db", clock.now_ms())
        meters = Meters()
        writer = Writer(store, clock, limits or Limits(commit_timeout_s=60), meters)
        await writer.start()
        try:
            yield Ingest(store, writer, clock, meters)
        finally:
            await writer.close()
            await store.close()

    return opened


@pytest.fixture
async def ingest(open_ingest: Open) -> AsyncIterator[Ingest]:
    async with open_ingest() as opened:
        yield opened
