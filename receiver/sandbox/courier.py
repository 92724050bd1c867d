"""Posts events to webhooks: concurrently, signed, and again on the documented schedule in simulated time."""

import asyncio
from collections import deque
from heapq import heappop, heappush

import httpx
import structlog

from receiver.clock import Clock
from receiver.http import Poster
from receiver.sandbox.chance import Chance, between
from receiver.sandbox.delivery import ATTEMPTS, Delivery, Webhook, Writing, due_ms
from receiver.sandbox.faults import Plan, Rule
from receiver.sandbox.happenings import Happening
from receiver.sandbox.options import Schedule

log = structlog.get_logger()

# By default; `by` in a rule says otherwise.
_DELAY_S = 1800.0
_REORDER_S = 120.0
_COPY_WITHIN_S = 60.0
_WITHHELD_AT_ONCE = ("silence", "drop", "malformed_body", "missing_fields")


class Courier:
    """Owns everything between an event and the endpoint that takes it.

    `take` and `start_due` never wait; the deliveries run as tasks, at most `connections` at once.
    """

    def __init__(
        self,
        writing: Writing,
        plan: Plan,
        chance: Chance,
        clock: Clock,
        poster: Poster,
        schedule: Schedule,
        connections: int,
        timeout_s: float,
    ) -> None:
        self.webhooks: list[Webhook] = []
        self.happened: list[Happening] = []
        self._writing = writing
        self._plan = plan
        self._chance = chance
        self._clock = clock
        self._poster = poster
        self._schedule = schedule
        self._connections = connections
        self._timeout_s = timeout_s
        self._later: list[tuple[int, int, Delivery]] = []
        self._planned = 0
        self._now: deque[Delivery] = deque()
        self._open: set[int] = set()
        self._barriers: list[tuple[set[int], asyncio.Future[None]]] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._working = 0  # not the size of the set: a task leaves that only a moment after its end

    def register(self, webhook_id: str, url: str, events: tuple[str, ...], now_ms: int) -> Webhook:
        """From now on post these events to this URL."""
        webhook = Webhook(webhook_id, url, events, now_ms, len(self.happened))
        self.webhooks.append(webhook)
        return webhook

    def take(self, happening: Happening) -> None:
        """An event happened: plan its deliveries. It is kept: a webhook that comes later has missed it."""
        self.happened.append(happening)
        for number, webhook in enumerate(self.webhooks):
            if happening.event.value in webhook.events:
                self._plan_event(webhook, happening, number)

    def next_ms(self) -> int | None:
        """When the next try is due in simulated time."""
        return self._later[0][0] if self._later else None

    def pending(self, webhook: Webhook) -> int:
        """Events that may still arrive."""
        return webhook.events_due - webhook.delivered - len(webhook.book)

    def start_due(self, now_ms: int) -> None:
        """Begin what is due."""
        while self._later and self._later[0][0] <= now_ms:
            _, _, delivery = heappop(self._later)
            self._now.append(delivery)
            self._open.add(id(delivery))
        while self._working < min(self._connections, len(self._open)):
            self._working += 1
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._ended)

    async def settled(self) -> None:
        """Returns when every try that has begun or is due has ended, well or not."""
        if self._open:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._barriers.append((set(self._open), done))
            await done

    async def close(self) -> None:
        """Give up what is on its way."""
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        for _, done in self._barriers:
            done.cancel()
        await self._poster.close()

    def _plan_event(self, webhook: Webhook, happening: Happening, number: int) -> None:
        webhook.events_due += 1
        at_ms = happening.at_ms
        rule = self._plan.taking_event(happening, number)
        if rule is None:
            self._plan_try(Delivery(webhook, happening, at_ms))
            return
        unit = self._chance.unit("shift", f"{number}:{happening.key}")
        if rule.fault in _WITHHELD_AT_ONCE:
            webhook.book.withhold(happening, rule.fault, at_ms)
        if rule.fault in ("silence", "drop"):
            return
        delivery = Delivery(webhook, happening, self._shifted_ms(rule, at_ms, unit), rule)
        webhook.late += delivery.first_ms > at_ms
        self._plan_try(delivery)
        if rule.fault == "duplicate":
            webhook.duplicates += 1
            self._plan_try(Delivery(webhook, happening, at_ms + int(_COPY_WITHIN_S * 1000 * unit), rule, delivery))
        elif rule.fault == "unknown_event":
            webhook.extra += 1
            self._plan_try(Delivery(webhook, happening, at_ms, rule, delivery))

    def _shifted_ms(self, rule: Rule, at_ms: int, unit: float) -> int:
        """When a delivery that does not go out at its time does."""
        if rule.fault == "burst":
            return self._plan.ends_at_ms(rule)
        if rule.fault == "delay":
            return at_ms + int(1000 * (rule.amount or _DELAY_S))
        if rule.fault == "reorder":
            return at_ms + int(1000 * between(0, rule.amount or _REORDER_S, unit))
        return at_ms

    def _plan_try(self, delivery: Delivery) -> None:
        self._planned += 1
        due = due_ms(self._schedule, delivery.first_ms, delivery.attempt)
        heappush(self._later, (due, self._planned, delivery))

    async def _work(self) -> None:
        try:
            while self._now:
                delivery = self._now.popleft()
                try:
                    taken = await self._post(delivery)
                    self._after(delivery, taken=taken)
                finally:
                    self._closed(id(delivery))
        finally:
            self._working -= 1

    async def _post(self, delivery: Delivery) -> bool:
        """One try; whether it was answered 2xx within the real seconds that a try has."""
        now_ms = self._clock.now_ms()
        body = self._writing.body(delivery, now_ms)
        headers = {
            "Content-Type": "application/json",
            "X-Leadterra-Signature": self._writing.signature(delivery, body, now_ms),
        }
        delivery.webhook.attempts += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._poster.post(delivery.webhook.url, body, headers)
        except (httpx.HTTPError, OSError):
            return False
        except Exception as error:  # noqa: BLE001 # an application in this process may raise anything
            # No traceback: it would show the signing secret and the recipient.
            log.warning("delivery_failed", webhook=delivery.webhook.id, error=type(error).__name__)
            return False
        return 200 <= status < 300

    def _after(self, delivery: Delivery, *, taken: bool) -> None:
        original = delivery.copy_of or delivery
        if taken:
            original.arrived = original.arrived or not delivery.is_extra
            # On a fast clock an event may be given up while its copy is under way still.
            if delivery.copy_of and not delivery.is_extra and delivery.webhook.book.take_back(delivery.happening):
                delivery.webhook.delivered += 1
        elif delivery.copy_of is None and delivery.attempt + 1 < ATTEMPTS:
            # Copies are not tried again: nothing arrives after its event was given up.
            delivery.attempt += 1
            self._plan_try(delivery)
            return
        if delivery.copy_of is None and not delivery.is_mangled:
            self._finish(delivery)

    def _finish(self, delivery: Delivery) -> None:
        if delivery.arrived:
            delivery.webhook.delivered += 1
        else:
            delivery.webhook.book.withhold(delivery.happening, "gave_up", self._clock.now_ms())

    def _closed(self, number: int) -> None:
        self._open.discard(number)
        for waiting in self._barriers:
            waiting[0].discard(number)
        for _, done in [waiting for waiting in self._barriers if not waiting[0]]:
            if not done.done():
                done.set_result(None)
        self._barriers = [waiting for waiting in self._barriers if waiting[0]]

    def _ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and worker.exception() is not None:
            log.error("courier_failed", error=repr(worker.exception()))
