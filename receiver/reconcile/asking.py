"""What one run does: ask for counters, take the answers in, fetch lost replies, sum up."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from receiver.clock import Clock
from receiver.errors import LeadterraError
from receiver.events import Event
from receiver.leadterra.answers import Counters, FetchedReply
from receiver.leadterra.client import LeadterraClient
from receiver.leadterra.replies import body_of, event_of
from receiver.reconcile import cases, writes
from receiver.reconcile.books import Books, Options, Run
from receiver.reconcile.cases import EVENTS, Answered, Taken
from receiver.reconcile.drift import SKEW_MAX_MS, Circumstances
from receiver.reconcile.schedule import Polled, is_due, nothing_arrives, wait_after
from receiver.reconcile.stretches import overlap
from receiver.storage.deliveries import Delivery
from receiver.storage.sqlite import kept
from receiver.storage.sqlite import reconciliation as rows
from receiver.storage.sqlite.standings import differing

log = structlog.get_logger()

# Answers taken in by one transaction; deliveries wait meanwhile.
_CHUNK = 16
# The first of them waits so long for the others, in real seconds.
_GATHER_S = 0.05
_REPLIES_CHUNK = 200
_WAITS_CHUNK = 200
# A whole run may take so long, in real seconds.
_BUDGET_S = 900.0
# After so many failures and not one answer Leadterra is not asked any further in this run.
_HOPELESS = 16
_DATE_RESOLUTION_MS = 999
# How long replies that a fetch did not bring are left alone, unless more are lost.
_REFETCH_MS = 6 * 3_600_000


@dataclass(frozen=True, slots=True)
class _Failure:
    campaign_id: str
    error: LeadterraError


class Asking:
    """One run, from its first question to its sum.

    `fetched` is kept between runs: leads whose replies a fetch did not bring, by campaign, and when that was.
    """

    def __init__(
        self,
        run: Run,
        client: LeadterraClient,
        books: Books,
        clock: Clock,
        options: Options,
        fetched: dict[str, tuple[int, int]],
    ) -> None:
        self._run = run
        self._client = client
        self._books = books
        self._clock = clock
        self._options = options
        self._deadline = asyncio.get_running_loop().time() + _BUDGET_S
        self._answers: asyncio.Queue[Answered | _Failure | None] = asyncio.Queue(2 * _CHUNK)
        self._around = Circumstances({})
        self._missing: list[_Failure] = []  # campaigns that Leadterra does not know
        self._replies_lost: dict[str, int] = {}
        self._fetched = fetched
        self._answered = 0
        self._hopeless: LeadterraError | None = None

    async def go(self, campaign_ids: Sequence[str] | None) -> None:
        """Ask, take in, fetch lost replies, and sum up."""
        wanted = list(dict.fromkeys(campaign_ids)) if campaign_ids is not None else await self._due()
        self._run.campaigns = len(wanted)
        await self._look_around()
        names = iter(wanted)
        async with asyncio.TaskGroup() as group:
            taking = group.create_task(self._take_in())
            async with asyncio.TaskGroup() as askers:
                for _ in range(min(self._options.concurrency, len(wanted))):
                    askers.create_task(self._ask_each(names))
            await self._answers.put(None)
            await taking
        await self._judge_missing()
        await self._fetch_replies()
        await self._set_waits()
        run = self._run
        run.differing = await self._books.read(differing)
        run.status = "ok" if not run.failed else "partial" if self._answered else "failed"

    async def _due(self) -> list[str]:
        now = self._clock.now_ms()
        tolerance = int(self._options.interval_s * 500)
        polled = await self._books.read(_polled)
        everything = nothing_arrives(await self._books.read(rows.last_received_at), polled, now)
        return [each.campaign_id for each in polled if everything or is_due(each, now, tolerance)]

    async def _look_around(self) -> None:
        now, speed = self._clock.now_ms(), self._clock.speed
        self._around = await self._books.write(
            partial(cases.circumstances, pins=self._options.pins, now_ms=now, speed=speed)
        )

    async def _ask_each(self, names: Iterator[str]) -> None:
        for campaign_id in names:
            await self._answers.put(await self._ask(campaign_id))

    async def _ask(self, campaign_id: str) -> Answered | _Failure:
        if self._hopeless is not None:
            return _Failure(campaign_id, self._hopeless)
        asked_at = self._clock.now_ms()
        try:
            snapshot = await self._client.stats(campaign_id, deadline=self._deadline)
        except LeadterraError as error:
            return _Failure(campaign_id, error)
        answered = _answered(campaign_id, snapshot.counters, snapshot.at_ms, asked_at, self._clock.now_ms())
        self._run.clock_off_ms = self._clock.now_ms() - answered.at
        return answered

    async def _take_in(self) -> None:
        """Take answers in, some at once: a transaction of its own for each would cost more than the answer."""
        more = True
        while more:
            chunk = [await self._answers.get()]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GATHER_S):
                    while chunk[-1] is not None and len(chunk) < _CHUNK:
                        chunk.append(await self._answers.get())
            more = chunk[-1] is not None
            await self._take_chunk([answer for answer in chunk if answer is not None])

    async def _take_chunk(self, chunk: Sequence[Answered | _Failure]) -> None:
        answers = [answer for answer in chunk if isinstance(answer, Answered)]
        for failure in chunk:
            if isinstance(failure, _Failure):
                await self._note_failure(failure)
        if answers:
            now = self._clock.now_ms()
            work = partial(cases.take_in_all, answers=answers, now_ms=now, around=self._around)
            taken = await self._books.write(work)
            self._answered += len(answers)
            for answer, each in zip(answers, taken, strict=True):
                self._look_for_losses(answer.campaign_id, each)
        self._run.done += len(chunk)

    def _look_for_losses(self, campaign_id: str, taken: Taken) -> None:
        at, before_at = taken.evaluation.at, taken.before_at
        for gap in taken.evaluation.gaps:
            # What an earlier answer told of and only this one proves is no news of the subscription.
            count = min(gap.at_least, taken.grown.get(gap.figure, 0))
            if gap.to_at == at and count > 0 and not overlap(self._around.closed, before_at, at):
                # By our own clock, as arrivals are.
                self._run.note_unheard(EVENTS[gap.figure], count, self._run.started_at - (at - before_at))
        if taken.evaluation.losses["replied"].total:
            self._replies_lost[campaign_id] = taken.evaluation.losses["replied"].total

    async def _note_failure(self, failure: _Failure) -> None:
        if failure.error.reason == "not_found":
            self._missing.append(failure)
            return
        self._run.failed += 1
        self._note_error(failure.campaign_id, failure.error)
        if self._run.failed >= _HOPELESS and not self._answered:
            self._hopeless = failure.error
        text, now = str(failure.error), self._clock.now_ms()
        await self._books.write(partial(writes.note_failures, failures=[(failure.campaign_id, text)], now_ms=now))

    def _note_error(self, campaign_id: str | None, error: LeadterraError) -> None:
        self._run.errors.append({"campaign_id": campaign_id, "reason": error.reason, "detail": str(error)})

    async def _judge_missing(self) -> None:
        """One campaign that Leadterra does not know is gone; when it knows none of several, the key is another's.

        Those that were gone before prove nothing: a week later they may be all that is asked.
        """
        missing = self._missing
        none_known = len(missing) > 1 and len(missing) == self._run.campaigns
        gone = {each.campaign_id for each in await self._books.read(_polled) if each.gone_at} if none_known else set()
        wrong_key = none_known and any(failure.campaign_id not in gone for failure in missing)
        now = self._clock.now_ms()
        if wrong_key:
            text = f"Leadterra knows none of {len(missing)} campaigns; use an API key of this workspace."
            self._note_error(None, LeadterraError(text, "not_found", 404))
            self._run.failed += len(missing)
        else:
            for failure in missing:
                self._note_error(failure.campaign_id, failure.error)
        if missing:
            failures = [(failure.campaign_id, str(failure.error)) for failure in missing]
            gone_at = None if wrong_key else now
            await self._books.write(partial(writes.note_failures, failures=failures, now_ms=now, gone_at=gone_at))

    async def _fetch_replies(self) -> None:
        """Fetch the replies of campaigns that lack some; a failure leaves them missing.

        Those that Leadterra does not list either are not asked for in every run.
        """
        now = self._clock.now_ms()
        for campaign_id, lost in self._replies_lost.items():
            before = self._fetched.get(campaign_id)
            if before is not None and before[0] >= lost and 0 <= now - before[1] < _REFETCH_MS:
                continue
            try:
                fetched = await self._client.replies(campaign_id, deadline=self._deadline)
            except LeadterraError as error:
                self._note_error(campaign_id, error)
                log.warning("replies_not_fetched", campaign_id=campaign_id, reason=error.reason)
                continue
            for begin in range(0, len(fetched.rows), _REPLIES_CHUNK):
                await self._take_replies(fetched.rows[begin : begin + _REPLIES_CHUNK])
            left = await self._books.write(
                partial(writes.judge_replies, campaign_id=campaign_id, around=self._around)
            )
            self._fetched[campaign_id] = left, now

    async def _take_replies(self, replies: Sequence[FetchedReply]) -> None:
        now = self._clock.now_ms()
        events = [(body_of(reply), event_of(reply, self._books.parser, now)) for reply in replies]
        deliveries = [Delivery(body, now, event) for body, event in events if isinstance(event, Event)]
        if deliveries:
            await self._books.take_in(deliveries, now)

    async def _set_waits(self) -> None:
        """When each campaign that was asked is asked again."""
        waits = await self._books.read(self._new_waits)
        for begin in range(0, len(waits), _WAITS_CHUNK):
            await self._books.write(partial(kept.set_waits, waits=waits[begin : begin + _WAITS_CHUNK]))

    def _new_waits(self, conn: sqlite3.Connection) -> list[tuple[int, int]]:
        """Waits and campaigns, where they are others than before."""
        polled = _polled(conn)
        started, interval = self._run.started_at, int(self._options.interval_s * 1000)
        now = self._clock.now_ms()
        everything = nothing_arrives(rows.last_received_at(conn), polled, now)
        found = []
        for each in polled:
            if each.asked_at is not None and each.asked_at >= started:
                wait = wait_after(each, now, interval, gone=each.gone_at is not None, everything=everything)
                if wait != each.wait_ms:
                    found.append((wait, each.campaign))
        return found


def worth_asking(conn: sqlite3.Connection, now_ms: int) -> list[str]:
    """Ids of all campaigns, but for those that are gone and not due."""
    return [each.campaign_id for each in _polled(conn) if each.gone_at is None or is_due(each, now_ms)]


def _polled(conn: sqlite3.Connection) -> list[Polled]:
    return [
        Polled(
            row["id"],
            row["campaign_id"],
            row["last_event_at"],
            row["asked_at"],
            row["moved_at"],
            row["wait_ms"] or 0,
            row["gone_at"],
            row["queued"],
            bool(row["has_gap"]),
        )
        for row in rows.known_campaigns(conn)
    ]


def _answered(campaign_id: str, counters: Counters, date_ms: int | None, asked_at: int, now: int) -> Answered:
    """An answer's time: its own `Date`, which has whole seconds, else ours.

    Where the two clocks are near each other, either may be right about the moments before and after.
    """
    if date_ms is None:
        return Answered(campaign_id, counters, now, asked_at, now)
    last = date_ms + _DATE_RESOLUTION_MS
    at = min(max(now, date_ms), last)
    if abs(now - at) > SKEW_MAX_MS:
        return Answered(campaign_id, counters, at, date_ms, last)
    return Answered(campaign_id, counters, at, min(asked_at, date_ms), max(now, last))
