"""A store, its writer and the watch over them, on a clock that the test moves; runs take no real time."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import stamina

from receiver.ingest.books import StoreBooks
from receiver.ingest.intake import Intake
from receiver.ingest.meters import Meters
from receiver.ingest.writer import Limits, Writer
from receiver.reconcile.alarms import Alarm
from receiver.reconcile.books import Run
from receiver.reconcile.cases import Pins
from receiver.reconcile.watch import Watch
from receiver.storage.sqlite.store import Readers, Store
from tests.ingest.conftest import NOW_MS, HandClock, Ingest


class Watched(Ingest):
    """A running writer, and the watch over it with what it has told."""

    def watch_with(self, readers: Readers, **more: int) -> None:
        self.told: list[list[Alarm]] = []
        self.books = StoreBooks(self.store, readers, self.writer.exclusively)
        intake = Intake(self.meters, self.writer, self.clock)
        self.watch = Watch(
            self.books, self.clock, Pins(), intake, on_change=lambda held: self.told.append(list(held)), **more
        )

    async def check(self, *, counts: bool = False) -> list[str]:
        """The codes of the alarms after one more look."""
        await self.watch.tick(counts=counts)
        return sorted(alarm.breach.code for alarm in self.told[-1])

    async def after_run(self, run: Run | None = None) -> list[str]:
        """The same after a run."""
        await self.watch.after_run(run or Run(1, "test", self.clock.now_ms()))
        return sorted(alarm.breach.code for alarm in self.told[-1])

    def stored(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT code FROM alarms ORDER BY code")]


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    clock = HandClock(NOW_MS)
    store = await Store.open(tmp_path / "receiver.db", clock.now_ms())
    readers = await Readers.open(store.path)
    meters = Meters()
    writer = Writer(store, clock, Limits(commit_timeout_s=60), meters)
    await writer.start()
    opened = Watched(store, writer, clock, meters)
    opened.watch_with(readers)
    try:
        yield opened
    finally:
        await writer.close()
        await readers.close()
        await store.close()


@pytest.fixture(autouse=True)
def once() -> Iterator[None]:
    """A call that fails is not tried again: how the client waits is tested where the client is."""
    with stamina.set_testing(True, attempts=1, cap=True):
        yield
