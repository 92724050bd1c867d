"""Group commit: one task takes whatever waits, commits it in one transaction, and wakes the waiters."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from receiver.clock import Clock
from receiver.errors import UnavailableError
from receiver.events import EVENT_NAMES, Event, Unread
from receiver.ingest.heartbeat import INTERVAL_MS, Heartbeat
from receiver.ingest.meters import Meters
from receiver.storage.deliveries import Committed, Delivery, Outcome, Posted
from receiver.storage.faults import DamagedError, Fault, WriterEndedError, classify, explained
from receiver.storage.sqlite.store import Store

T = TypeVar("T")
log = structlog.get_logger()

_SWEEP_S = 0.25
# A batch goes to another process as one message, of which both hold a copy.
_BATCH_BYTES = 8_388_608
# After a full disk or a held lock: soon enough to heal by itself, rarely enough not to spin.
_PAUSE_S = 0.2
_UNFIT = "The ledger cannot take this event; it is kept as it came."
_FAILED = "The database failed; the receiver stops. Send the event again."


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may wait for the writer, and for how long (`ingest.*` in the settings)."""

    queue_max_events: int = 10_000
    queue_max_bytes: int = 67_108_864
    batch_max: int = 1000
    commit_timeout_s: float = 5.0


class _Waiter:
    __slots__ = ("deadline_s", "delivery", "future")

    def __init__(self, delivery: Posted | Delivery, future: asyncio.Future[Outcome], deadline_s: float) -> None:
        self.delivery = delivery
        self.future = future
        self.deadline_s = deadline_s


class Writer:
    """Owns the store's writing side. `submit` returns once the delivery is durable, else raises.

    `version` moves with every commit that changed an answer; `new_campaign` is set when one is seen for the first
    time. `failed` is set when the store cannot be
    trusted any more (a failed fsync, a damaged file): the process must end.
    """

    def __init__(self, store: Store, clock: Clock, limits: Limits, meters: Meters) -> None:
        self.version = 0
        self.heartbeat = Heartbeat(clock)
        self.failed = asyncio.Event()
        self.new_campaign = asyncio.Event()
        self._store = store
        self._campaigns_made = 0
        self._clock = clock
        self._limits = limits
        self._meters = meters
        self._waiting: deque[_Waiter] = deque()
        self._waiting_bytes = 0
        self._in_flight: list[_Waiter] = []
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._closing = False
        self._full = False
        self._next_housekeeping_s = 0.0
        self._narrowing: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Prove that a commit works, then begin to accept."""
        await self._beat()
        self._tasks = [asyncio.create_task(each) for each in (self._run(), self._expire(), self._watch_store())]

    @property
    def accepting(self) -> bool:
        return not (self._closing or self._full or self.failed.is_set())

    @property
    def queued(self) -> int:
        return len(self._waiting)

    async def submit(self, delivery: Posted | Delivery) -> Outcome:
        """What became of the delivery, once that is durable. Raises UnavailableError when it may not be."""
        if self._closing or self.failed.is_set():
            raise UnavailableError("The receiver is shutting down; send the event again.", 5)
        limits = self._limits
        size = len(delivery.body)
        queue_full = len(self._waiting) >= limits.queue_max_events
        if queue_full or self._waiting_bytes + size > limits.queue_max_bytes:
            raise UnavailableError("Too many events wait to be stored; send the event again.", 5)
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiting.append(_Waiter(delivery, future, self._loop.time() + limits.commit_timeout_s))
        self._waiting_bytes += size
        self._wake.set()
        return await future

    async def exclusively(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run other writing work between two batches; raises UnavailableError while nothing can be stored."""
        async with self._turn:
            if self._closing or self.failed.is_set():
                raise UnavailableError("The receiver is shutting down; try again.", 5)
            begun = self._loop.time()
            try:
                result = await work()
            except Exception as error:
                self._note_failure(error)
                if classify(error) is Fault.OTHER:
                    raise
                raise UnavailableError("The database takes nothing now; try again.", 5) from error
            self._meters.exclusive.observe(self._loop.time() - begun)
            self.version += 1
            return result

    async def take_in(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """What became of deliveries that came earlier, once that is durable; they prove nothing about acceptance.

        One that the ledger cannot take is kept in quarantine. Raises UnavailableError.
        """
        try:
            committed = await self.exclusively(lambda: self._store.take_in(deliveries, self._clock.now_ms()))
        except UnavailableError:
            raise
        except Exception:
            if len(deliveries) > 1:
                return [outcome for delivery in deliveries for outcome in await self.take_in([delivery])]
            unfit = self._set_aside(deliveries[0])
            if unfit is None:
                raise
            return await self.take_in([unfit])
        self._note_arrivals(committed)
        return list(committed.outcomes)

    def give_up(self, error: DamagedError) -> None:
        """Store nothing more, because of damage that somebody else has met."""
        if not self.failed.is_set():
            self.heartbeat.failed()
            log.error("database_damaged", detail=str(error))
            self._fail()

    def hurry(self, within_s: float) -> None:
        """Answer everybody who waits within this time, so that a shutdown need not cut anybody off."""
        latest_s = self._loop.time() + within_s
        for waiter in [*self._in_flight, *self._waiting]:
            waiter.deadline_s = min(waiter.deadline_s, latest_s)

    async def close(self) -> None:
        """Refuse what comes, commit what waits, close the stretch of acceptance."""
        self._closing = True
        self._wake.set()
        if self._narrowing is not None:
            await self._narrowing
        if self._tasks:
            running, *beside = self._tasks
            await running
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await self._take_turns()
        except Exception as error:  # a writer that died must not leave a server that hangs
            log.critical("writer_failed", exc_info=error)
            self.failed.set()
        if self.failed.is_set():
            self._refuse_all()

    async def _take_turns(self) -> None:
        while not self.failed.is_set():
            await self._until_needed()
            async with self._turn:
                if self.failed.is_set():
                    return  # other writing work failed for good while we waited for our turn
                if self._waiting:
                    await self._commit_next()
                elif self._closing:
                    await self._beat(stopped=True)
                    return
                else:
                    await self._beat()
                await self._keep_house()
            if self._full and not self._closing:
                await asyncio.sleep(_PAUSE_S)

    async def _until_needed(self) -> None:
        """Wait for a delivery, at most until the next heartbeat is due."""
        if self._waiting or self._closing:
            return
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PAUSE_S if self._full else self._interval_s()):
                await self._wake.wait()

    def _interval_s(self) -> float:
        return 1.0 if self._clock.speed > 1 else INTERVAL_MS / 1000

    async def _commit_next(self) -> None:
        batch = self._take_batch()
        if not batch:
            return
        self._in_flight = batch
        try:
            await self._commit(batch)
        finally:
            self._in_flight = []

    def _take_batch(self) -> list[_Waiter]:
        """What waits, oldest first; what nobody waits for any more is left to the sender's retry."""
        batch: list[_Waiter] = []
        room_bytes = _BATCH_BYTES
        while self._waiting and len(batch) < self._limits.batch_max and room_bytes > 0:
            waiter = self._waiting.popleft()
            self._waiting_bytes -= len(waiter.delivery.body)
            if not waiter.future.done():
                batch.append(waiter)
                room_bytes -= len(waiter.delivery.body)
        return batch

    async def _commit(self, batch: Sequence[_Waiter]) -> None:
        try:
            outcomes = await self._write([waiter.delivery for waiter in batch])
        except Exception as error:  # whatever it is, the waiters must be answered
            self._note_failure(error)
            if classify(error) is not Fault.OTHER:
                _refuse(batch, _explain(error))
            elif len(batch) == 1:
                log.error("delivery_not_stored", exc_info=error)
                await self._commit_unread(batch[0])
            else:
                # One of them cannot be stored; the others must not suffer for it.
                await self._commit_singly(batch)
            return
        for waiter, outcome in zip(batch, outcomes, strict=True):
            if not waiter.future.done():
                waiter.future.set_result(outcome)

    async def _commit_unread(self, waiter: _Waiter) -> None:
        unfit = self._set_aside(waiter.delivery)
        if unfit is None:
            _refuse([waiter], "The event could not be stored; send it again.")
        else:
            waiter.delivery = unfit
            await self._commit([waiter])

    def _set_aside(self, delivery: Posted | Delivery) -> Delivery | None:
        """What the ledger cannot take is still signed: its body for quarantine. None if it was for that already."""
        unread = Unread("invalid_field", _UNFIT)
        event = self._read(delivery)
        if isinstance(event, Event):
            unread = Unread("invalid_field", _UNFIT, EVENT_NAMES[event.kind], event.campaign)
        elif event is not None:
            return None
        return Delivery(delivery.body, delivery.received_at, unread, delivery.secret, delivery.peer)

    def _read(self, delivery: Posted | Delivery) -> Event | Unread | None:
        """What a body tells of; None if reading it is what failed."""
        if isinstance(delivery, Delivery):
            return delivery.parsed
        try:
            return self._store.parser.parse(delivery.body, delivery.received_at)
        except Exception as error:  # a defect of ours must not cost a signed body
            log.error("body_not_read", exc_info=error)
            return None

    async def _commit_singly(self, batch: Sequence[_Waiter]) -> None:
        for waiter in batch:
            if self.failed.is_set():
                _refuse([waiter], _FAILED)
            else:
                await self._commit([waiter])

    async def _write(self, deliveries: Sequence[Posted | Delivery]) -> Sequence[Outcome]:
        now = self._clock.now_ms()
        begun = self._loop.time()
        refusals = self.heartbeat.refusals()
        committed = await self._store.commit(deliveries, now, self.heartbeat.stretch(), refusals)
        self._full = False
        self.version += 1
        self.heartbeat.committed(accepted=True, refusals=refusals)
        self._meters.batch(len(deliveries), self._loop.time() - begun)
        self._note_arrivals(committed)
        return committed.outcomes

    def _note_arrivals(self, committed: Committed) -> None:
        """What came: of which type, whether later than any retry should, whether of a campaign not seen before."""
        for event, arrived_at in committed.arrived.items():
            self._meters.arrived(event, arrived_at)
        if committed.late:
            self._meters.came_late(committed.late)
        if committed.campaigns_made != self._campaigns_made:
            self._campaigns_made = committed.campaigns_made
            self.new_campaign.set()

    async def _beat(self, *, stopped: bool = False) -> None:
        """An empty commit: proves that one works, and extends the stretch of acceptance."""
        stretch = self.heartbeat.stretch(stopped=stopped)
        try:
            await self._store.commit([], self._clock.now_ms(), stretch, self.heartbeat.refusals())
        except Exception as error:
            self._note_failure(error)
            if classify(error) is Fault.OTHER:
                raise
        else:
            self._full = False
            self.heartbeat.committed(accepted=False)

    async def _keep_house(self) -> None:
        """What is due once per interval, however busy we are: bodies whose time has come, spans to measure."""
        if self._loop.time() < self._next_housekeeping_s:
            return
        self._next_housekeeping_s = self._loop.time() + self._interval_s()
        try:
            if await self._store.retry_due(self._clock.now_ms()):
                self.version += 1
            if self._narrowing is None and await self._store.any_wide_span():
                self._narrowing = asyncio.create_task(self._narrow())
        except Exception as error:  # a body that cannot be stored waits on in quarantine; ingest goes on
            self._note_failure(error)
            if classify(error) is Fault.OTHER:
                log.error("housekeeping_failed", exc_info=error)

    async def _narrow(self) -> None:
        try:
            await self.narrow_spans()
        except Exception as error:  # nobody awaits this task; it is tried again
            log.warning("spans_not_measured", exc_info=error)
        finally:
            self._narrowing = None

    async def narrow_spans(self) -> None:
        """Measure, beside the writing, the spans that may have become too wide, and take them over."""
        measured = await self._store.measure_spans()
        if measured:
            await self.exclusively(lambda: self._store.narrow_spans(measured))

    def _note_failure(self, error: Exception) -> None:
        self.heartbeat.failed()
        fault = classify(error)
        if fault is Fault.FATAL and not self.failed.is_set():
            log.critical("database_failed", detail=explained(self._store.path, error, "used"))
            self._fail()
        elif fault is Fault.FULL and not self._full:
            detail = "There is no space, or a quota is used up: deliveries are refused with 503 until there is some."
            log.error("disk_full", detail=detail, error=str(error))
            self._full = True
        elif fault is Fault.BUSY:
            log.warning("database_locked", detail="Another process holds the database's lock.")

    def _fail(self) -> None:
        self.failed.set()
        self._wake.set()

    async def _watch_store(self) -> None:
        """A side that writes which ends, even while nothing is asked of it, is the end of accepting."""
        await self._store.ended.wait()
        self._note_failure(WriterEndedError("The process that writes has ended."))

    async def _expire(self) -> None:
        """Answer those who have waited too long; what is being committed may still be stored."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = self._loop.time()
            for waiter in [*self._in_flight, *self._waiting]:
                if waiter.deadline_s > now:
                    break
                _refuse([waiter], "The event was not stored in time; send it again.")

    def _refuse_all(self) -> None:
        while self._waiting:
            _refuse(self._take_batch(), _FAILED)


def _refuse(waiters: Sequence[_Waiter], text: str) -> None:
    for waiter in waiters:
        if not waiter.future.done():
            waiter.future.set_exception(UnavailableError(text, 5))


def _explain(error: Exception) -> str:
    texts = {
        Fault.FULL: "The disk is full; send the event again.",
        Fault.BUSY: "The database is locked; send the event again.",
    }
    return texts.get(classify(error), "The event could not be stored; send it again.")
