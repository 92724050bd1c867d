"""A sandbox without network: a clock that tests move, an endpoint that records, a client inside the process."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from receiver.leadterra import signature
from receiver.sandbox.faults import Rule
from receiver.sandbox.options import Habits, SandboxOptions
from receiver.sandbox.sandbox import Sandbox

START_MS = 1_749_600_000_000  # 2025-06-11T00:00:00Z
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
KEY = "sk_test_sandbox"
SECRET = "whsec_sandbox"
URL = "http://127.0.0.1:9/webhooks/leadterra"
CALM = Habits(0, 0, 0, 0, 0)
STEPS: list[dict[str, Any]] = [
    {"subject": "Hi {{firstName}}", "bodyHtml": "<p>About {{company}}</p>"},
    {"subject": "Again", "bodyHtml": "<p>{{email}}</p>", "delayDays": 2},
]


class HandClock:
    """Stands still until it is moved."""

    speed = 1.0

    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> int:
        return self.ms


class Recorder:
    """An endpoint that keeps what it takes; `status` decides what it answers."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.status: Callable[[httpx.Request], int] = lambda request: 204
        self.requests: list[tuple[int, httpx.Request, int]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        status = self.status(request)
        self.requests.append((self.clock.ms, request, status))
        return httpx.Response(status)

    @property
    def taken(self) -> list[dict[str, Any]]:
        """The events that were answered 2xx, were signed with the first secret, and can be read."""
        bodies = [request.content for _, request, status in self.requests if status < 300 and is_signed(request)]
        return [json.loads(body) for body in bodies if is_whole(body)]

    def events(self) -> Counter[str]:
        return Counter(event["event"] for event in self.taken)


def is_signed(request: httpx.Request, secret: str = SECRET) -> bool:
    digests = signature.decode([request.headers["x-leadterra-signature"].encode()])
    return signature.matching_secret([secret.encode()], request.content, digests) is not None


def is_whole(body: bytes) -> bool:
    try:
        return bool(json.loads(body)["data"])
    except ValueError:
        return False


class Playground:
    """A sandbox with everything around it."""

    def __init__(
        self, transport: httpx.AsyncBaseTransport | None = None, clock: HandClock | None = None, **options: Any
    ) -> None:
        self.clock = clock or HandClock()
        self.recorder = Recorder(self.clock)
        self.sandbox = Sandbox(
            SandboxOptions(**{"webhook_url": URL, **options}),
            self.clock,
            transport or httpx.MockTransport(self.recorder),
        )
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.sandbox.app),
            base_url="http://sandbox",
            headers={"Authorization": f"Bearer {KEY}"},
        )

    async def call(self, method: str, path: str, body: object = None, status: int | None = 200) -> Any:
        content = None if body is None else json.dumps(body).encode()
        response = await self.client.request(method, path, content=content)
        assert status is None or response.status_code == status, response.text
        return response.json()

    async def draft(self, steps: object = STEPS, name: str = "Spring") -> str:
        body = await self.call("POST", "/v1/campaigns", {"name": name, "sequenceSteps": steps}, 201)
        return str(body.get("campaign", body)["id"])

    async def enroll(self, campaign: str, leads: Iterable[object]) -> Any:
        return await self.call("POST", f"/v1/campaigns/{campaign}/leads/bulk", {"leads": list(leads)})

    async def running(self, count: int = 3, steps: object = STEPS, name: str = "Spring") -> str:
        campaign = await self.draft(steps, name)
        await self.enroll(campaign, people(count))
        await self.call("POST", f"/v1/campaigns/{campaign}/start")
        return campaign

    async def stats(self, campaign: str) -> Any:
        body = await self.call("GET", f"/v1/campaigns/{campaign}/stats")
        return body.get("stats", body.get("data", body))

    async def truth(self) -> Any:
        return await self.call("GET", "/_sandbox/truth")

    async def pass_ms(self, ms: int, grain_ms: int = 0) -> None:
        """Let simulated time pass, stopping wherever something happens, but not within `grain_ms`."""
        end = self.clock.ms + ms
        while (at := self.sandbox.next_ms()) is not None and at <= end:
            self.clock.ms = min(end, max(self.clock.ms + grain_ms, at))
            await self.sandbox.settle()
        self.clock.ms = end
        await self.sandbox.settle()

    async def close(self) -> None:
        await self.client.aclose()
        await self.sandbox.close()


def people(count: int, first: int = 0) -> list[dict[str, str]]:
    return [
        {"email": f"lead{n}@example.org", "firstName": f"Jo{n}", "company": f"Co{n}"}
        for n in range(first, first + count)
    ]


@asynccontextmanager
async def playing(**options: Any) -> AsyncIterator[Playground]:
    playground = Playground(**options)
    try:
        yield playground
    finally:
        await playground.close()


@pytest.fixture
async def calm() -> AsyncIterator[Playground]:
    """Nobody bounces, opens or answers; nothing fails."""
    async with playing(habits=CALM) as playground:
        yield playground


def rule(fault: str, **given: Any) -> tuple[Rule, ...]:
    return (Rule(fault, **given),)
