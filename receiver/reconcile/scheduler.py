"""Runs reconciliation on its schedule, asks new campaigns at once, and watches for alarms every minute."""

import asyncio
import contextlib

import structlog

from receiver.clock import Clock
from receiver.errors import ReceiverError
from receiver.reconcile.books import Books
from receiver.reconcile.run import Reconciler
from receiver.reconcile.watch import Watch
from receiver.storage.sqlite import reconciliation as rows

log = structlog.get_logger()

_MINUTE_MS = 60_000
_WAIT_MAX_S = 5.0
_WAIT_MIN_S = 0.002
# Without runs alarms end as slowly as with the usual ones.
_CHECK_EVERY_MS = 300_000


class Scheduler:
    """A task of the service. `news` is set when a campaign is seen for the first time."""

    def __init__(
        self, reconciler: Reconciler | None, watch: Watch, books: Books, clock: Clock, news: asyncio.Event
    ) -> None:
        self._reconciler = reconciler
        self._watch = watch
        self._books = books
        self._clock = clock
        self._news = news
        interval_s = 0 if reconciler is None else reconciler.options.interval_s
        self._interval_ms = int(interval_s * 1000)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin: the first run is at once, unless the last one was less than an interval ago."""
        self._task = asyncio.create_task(self._loop(await self._first_wait_ms()))

    async def close(self) -> None:
        """Stop; a run under way is closed by its reconciler."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _first_wait_ms(self) -> int:
        last = await self._books.read(rows.last_scheduled)
        if not self._interval_ms or last is None:
            return 0
        return max(0, min(self._interval_ms, last + self._interval_ms - self._clock.now_ms()))

    async def _loop(self, wait_ms: int) -> None:
        now = self._clock.monotonic_ms()
        due, check, tick = now + wait_ms, now + _CHECK_EVERY_MS, now + _MINUTE_MS
        while True:
            await self._until(min(due, tick) if self._interval_ms else tick)
            now = self._clock.monotonic_ms()
            if self._interval_ms and now >= due:
                due, tick = now + self._interval_ms, now + _MINUTE_MS
                await self._run("schedule")
            elif self._news.is_set():
                self._news.clear()
                await self._ask_new()
            elif now >= tick:
                tick = now + _MINUTE_MS
                counts = not self._interval_ms and now >= check
                check = now + _CHECK_EVERY_MS if counts else check
                await self._safely(self._watch.tick(counts=counts))

    async def _until(self, due_ms: int) -> None:
        """Until a time of the monotonic clock, or until there is news."""
        left_s = (due_ms - self._clock.monotonic_ms()) / 1000 / max(self._clock.speed, 1e-9)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(left_s, _WAIT_MIN_S), _WAIT_MAX_S)):
                await self._news.wait()

    async def _ask_new(self) -> None:
        """A campaign's first snapshot is taken right after its first event."""
        if self._reconciler is None or not self._interval_ms:
            return
        campaign_ids = await self._books.read(rows.never_asked)
        if campaign_ids:
            await self._run("first_event", campaign_ids)

    async def _run(self, trigger: str, campaign_ids: list[str] | None = None) -> None:
        if self._reconciler is not None:
            await self._safely(self._one(self._reconciler, trigger, campaign_ids))

    async def _one(self, reconciler: Reconciler, trigger: str, campaign_ids: list[str] | None) -> None:
        """A run of our own: one that was under way may have asked others."""
        for _ in range(2):
            run = await reconciler.run(trigger, campaign_ids)
            if run.trigger == trigger:
                return

    async def _safely(self, work: object) -> None:
        try:
            await work  # type: ignore[misc] # a coroutine of whatever result
        except ReceiverError as error:
            log.warning("reconciliation_postponed", detail=str(error))
        except Exception as error:  # the next turn must come
            log.error("reconciliation_failed", exc_info=error)
