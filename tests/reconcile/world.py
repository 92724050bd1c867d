"""A whole world inside the process: sandbox and receiver on one clock that tests move by hand."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from receiver.app import Service
from receiver.reconcile.books import Run
from receiver.reconcile.run import Reconciler
from receiver.sandbox.options import Habits, SandboxOptions
from receiver.sandbox.sandbox import Sandbox
from receiver.settings import Settings

START_MS = 1_749_600_000_000  # 2025-06-11T00:00:00Z
SECOND_MS = 1000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
SECRET = "whsec_world"
API_KEY = "sk_test_world"
TOKEN = "token-of-the-world"
CALM = Habits(0, 0, 0, 0, 0)
LEADTERRA = "http://127.0.0.1:9"
RECEIVER = "http://127.0.0.1:8"


class HandClock:
    """Stands still until it is moved; its speed says that time between two commits means nothing.

    `set_back_ms` is how far the machine's clock is wrong; the monotonic one goes on as it did.
    """

    speed = 100_000.0

    def __init__(self) -> None:
        self.ms = START_MS
        self.off_ms = 0

    def now_ms(self) -> int:
        return self.ms + self.off_ms

    def monotonic_ms(self) -> int:
        return self.ms


class _TrueClock:
    """Leadterra's clock, which nobody sets."""

    speed = 1.0

    def __init__(self, hand: HandClock) -> None:
        self._hand = hand

    def now_ms(self) -> int:
        return self._hand.ms

    def monotonic_ms(self) -> int:
        return self._hand.ms


class _Switch(httpx.AsyncBaseTransport):
    """Reaches the receiver while it is up."""

    def __init__(self) -> None:
        self.app: Any = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.app is None:
            raise httpx.ConnectError("The receiver is down.", request=request)
        return await httpx.ASGITransport(self.app).handle_async_request(request)


@dataclass
class World:
    """`run_every_ms` is how often reconciliation runs while time goes on; 0 for never.

    `stride_ms` is how much may happen at once: a little of it saves most of the commits.
    """

    clock: HandClock
    sandbox: Sandbox
    settings: Settings
    run_every_ms: int = 5 * MINUTE_MS
    stride_ms: int = 0
    service: Service | None = None
    runs: list[Run] = field(default_factory=list)
    leadterra_transport: httpx.AsyncBaseTransport | None = None
    after_run: Callable[[Run], Any] | None = None
    _switch: _Switch = field(default_factory=_Switch)
    _next_run_ms: int = START_MS

    async def up(self) -> None:
        """Start the receiver, and reconcile as it does at start."""
        transport = self.leadterra_transport or httpx.ASGITransport(self.sandbox.app)
        self.service = await Service.open(self.settings, TOKEN, clock=self.clock, leadterra=transport)
        await self.service.reconciliation._scheduler.close()  # the world is the schedule
        await self.service.retention.close()
        self._switch.app = self.service.app
        self.clock.ms += 1  # a start takes time: the outage before it ended a moment ago
        self._next_run_ms = self.clock.ms

    async def down(self) -> None:
        """Stop it: from now on deliveries fail."""
        assert self.service is not None
        self._switch.app = None
        await self.service.close()
        self.service = None

    @property
    def reconciler(self) -> Reconciler:
        assert self.service is not None
        reconciler = self.service.reconciliation.reconciler
        assert reconciler is not None
        return reconciler

    async def run(self, campaign_ids: Sequence[str] | None = None, trigger: str = "test") -> Run:
        run = await self.reconciler.run(trigger, campaign_ids)
        self.runs.append(run)
        if self.after_run is not None:
            await self.after_run(run)
        return run

    async def tick(self) -> None:
        """What the service does every minute between runs."""
        assert self.service is not None
        await self.service.reconciliation.watch.tick()

    async def advance(self, ms: int) -> None:
        """Let time pass: everything happens in its order, campaigns are asked right after their first event."""
        end = self.clock.ms + ms
        while True:
            planned = self.sandbox.next_ms()
            run_at = self._next_run_ms if self.run_every_ms and self.service is not None else end + 1
            planned = end if planned is None else max(planned, self.clock.ms + self.stride_ms)
            at = min(end, run_at, planned)
            self.clock.ms = max(self.clock.ms, at)
            await self.sandbox.settle()
            if self.service is not None and self.service.writer.new_campaign.is_set():
                self.service.writer.new_campaign.clear()
                await self.run(await self._never_asked(), "first_event")
            if self.clock.ms >= run_at:
                self._next_run_ms = self.clock.ms + self.run_every_ms
                await self.run()
            if self.clock.ms >= end:
                return

    async def _never_asked(self) -> list[str]:
        from receiver.storage.sqlite import reconciliation

        assert self.service is not None
        return await self.service.database.readers.run(reconciliation.never_asked)

    async def leadterra(self, method: str, path: str, body: Any = None) -> Any:
        transport = httpx.ASGITransport(self.sandbox.app)
        async with httpx.AsyncClient(transport=transport, base_url=LEADTERRA) as client:
            answer = await client.request(method, path, json=body, headers={"Authorization": f"Bearer {API_KEY}"})
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def deliver(self, body: bytes) -> str:
        """A signed delivery of our own; its outcome."""
        assert self.service is not None
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        async with httpx.AsyncClient(transport=self._switch, base_url=RECEIVER) as client:
            answer = await client.post(
                "/webhooks/leadterra", content=body, headers={"X-Leadterra-Signature": signature}
            )
        return str(answer.headers["receiver-outcome"])

    async def get(self, path: str) -> Any:
        """What the receiver answers."""
        assert self.service is not None
        transport = httpx.ASGITransport(self.service.app, client=("127.0.0.1", 50_000))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(transport=transport, base_url=RECEIVER, headers=headers) as client:
            answer = await client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def campaign(
        self, leads: int, steps: int = 1, name: str = "Summer", prefix: str = "lead", *, asked_first: bool = False
    ) -> str:
        """A running campaign; its id. With `asked_first` its first snapshot is of the draft: all zero."""
        sequence = [
            {"subject": "Hi", "bodyHtml": f"<p>{number}</p>", **({"delayDays": 1} if number else {})}
            for number in range(steps)
        ]
        made = await self.leadterra("POST", "/v1/campaigns", {"name": name, "sequenceSteps": sequence})
        campaign_id = made.get("campaign", made)["id"]
        for begin in range(0, leads, 1000):
            batch = [{"email": f"{prefix}{number}@example.org"} for number in range(begin, min(begin + 1000, leads))]
            await self.leadterra("POST", f"/v1/campaigns/{campaign_id}/leads/bulk", {"leads": batch})
        if asked_first:
            await self.run([campaign_id])
        await self.leadterra("POST", f"/v1/campaigns/{campaign_id}/start")
        return str(campaign_id)


def settings_for(folder: Path, **reconcile: Any) -> Settings:
    return Settings.model_validate(
        {
            "webhook": {"secrets": (SECRET,)},
            "storage": {"url": f"sqlite:///{folder / 'world.db'}"},
            "leadterra": {"base_url": LEADTERRA, "api_key": API_KEY},
            "reconcile": {"interval_s": 0, **reconcile},
        }
    )


@asynccontextmanager
async def opened(
    folder: Path, *, reconcile: dict[str, Any] | None = None, installed: bool = True, **options: Any
) -> AsyncIterator[World]:
    """A world whose receiver is up, unless it is not yet `installed`; `options` are the sandbox's."""
    clock = HandClock()
    options = {"habits": CALM, "daily_capacity": 100_000, **options}
    chosen = SandboxOptions(
        api_key=API_KEY, webhook_url=f"{RECEIVER}/webhooks/leadterra", webhook_secret=SECRET, **options
    )
    switch = _Switch()
    sandbox = Sandbox(chosen, _TrueClock(clock), switch)
    world = World(clock, sandbox, settings_for(folder, **(reconcile or {})), _switch=switch)
    if installed:
        await world.up()
    try:
        yield world
    finally:
        if world.service is not None:
            await world.down()
        await sandbox.close()
