"""Takes raw bodies away once an hour whose time is over, in the pauses of the writer."""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from receiver.clock import Clock
from receiver.errors import ReceiverError
from receiver.ingest.writer import Writer
from receiver.storage.sqlite import retention
from receiver.storage.sqlite.retention import DAY_MS, Expiry
from receiver.storage.sqlite.store import Store
from receiver.storage.sqlite.threads import connect_to_read

T = TypeVar("T")

log = structlog.get_logger()

EVERY_MS = 3_600_000
# Not at the start: a server that starts again and again with a wrong clock would take a day of bodies each time.
FIRST_AFTER_MS = 600_000
_WAIT_MAX_S = 5.0
_WAIT_MIN_S = 0.002


@dataclass(frozen=True, slots=True)
class Expired:
    """What one run took away: bodies of the journal, resolved ones of quarantine; and the pages it gave back."""

    bodies: int
    resolved: int
    pages: int


class Retention:
    """A task of the service; with `raw_days` 0 bodies are kept for ever, and it does nothing."""

    def __init__(self, path: Path, store: Store, writer: Writer, clock: Clock, raw_days: int) -> None:
        self._path = path
        self._store = store
        self._writer = writer
        self._clock = clock
        self._keep_ms = raw_days * DAY_MS
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the schedule."""
        if self._keep_ms:
            self._task = asyncio.create_task(self._loop())

    async def close(self) -> None:
        """Stop; what is left goes the next time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def run(self) -> Expired:
        """Take away what is too old. Raises UnavailableError while nothing can be written."""
        expiry = await self._plan()
        if expiry.behind_ms >= retention.STEP_MS:
            detail = "The clock has gone on a long way since the last time; bodies expire by a day an hour."
            log.warning("retention_waits", behind_s=expiry.behind_ms // 1000, detail=detail)
        await self._store.checkpoint_often(often=True)
        try:
            return await self._expire(expiry)
        finally:
            await self._store.checkpoint_often(often=False)

    async def _expire(self, expiry: Expiry) -> Expired:
        bodies = await self._all_of(
            expiry, lambda: partial(retention.expire_bodies, upto=expiry.upto, rows=expiry.chunk)
        )
        resolved = await self._all_of(expiry, lambda: partial(retention.expire_resolved, ids=expiry.next_resolved()))
        await self._write(partial(retention.finish, judged_at=expiry.judged_at))
        pages = await self._all_of(expiry, lambda: partial(retention.give_back, rows=expiry.chunk))
        return Expired(bodies, resolved, pages)

    async def _plan(self) -> Expiry:
        # Its own connection: reading the old part of a long journal takes longer than any read may.
        connection = await connect_to_read(self._path)
        try:
            return await connection.run_to_cancel(retention.plan, self._clock.now_ms(), self._keep_ms)
        finally:
            await connection.close()

    async def _all_of(self, expiry: Expiry, next_chunk: Callable[[], Callable[[sqlite3.Connection], int]]) -> int:
        """Write chunk after chunk until one finds nothing; in between others have as much time as it took."""
        total = 0
        while True:
            count, took_s = await self._write(next_chunk())
            expiry.took(took_s)
            total += count
            if not count:
                return total
            await asyncio.sleep(took_s)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> tuple[T, float]:
        """The result of one transaction, and the seconds that it held the writer."""

        async def timed() -> tuple[T, float]:
            begun = asyncio.get_running_loop().time()
            result = await self._store.transact(work)
            return result, asyncio.get_running_loop().time() - begun

        return await self._writer.exclusively(timed)

    async def _loop(self) -> None:
        due = self._clock.monotonic_ms() + FIRST_AFTER_MS
        while True:
            left_s = (due - self._clock.monotonic_ms()) / 1000
            if left_s > 0:
                # A simulated clock may become a real one meanwhile: look again soon.
                await asyncio.sleep(min(max(left_s / max(self._clock.speed, 1e-9), _WAIT_MIN_S), _WAIT_MAX_S))
                continue
            due = self._clock.monotonic_ms() + EVERY_MS
            await self._safely()

    async def _safely(self) -> None:
        try:
            expired = await self.run()
        except ReceiverError as error:
            log.warning("retention_postponed", detail=str(error))
        except Exception as error:  # the next turn must come
            log.error("retention_failed", exc_info=error)
        else:
            if expired.bodies or expired.resolved:
                log.info("bodies_expired", bodies=expired.bodies, resolved=expired.resolved, pages=expired.pages)
