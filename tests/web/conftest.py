"""The whole service in a temporary folder, asked through ASGI, with a clock that stands still."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message

from receiver.app import Service
from receiver.leadterra.signature import sign
from receiver.settings import load
from receiver.storage.lock import DatabaseLock
from receiver.storage.sqlite.launch import launched

SECRET = b"web-secret"
TOKEN = "token-of-the-lock-file"
ANALYST = "rcv_analyst"
ADMIN = "rcv_admin"
NOW = 1_749_634_200_000  # 2025-06-11T09:30:00Z
DAY_MS = 86_400_000

Start = Callable[..., Any]


class StandingClock:
    """Stands still until a test moves `now`."""

    speed = 1.0

    def __init__(self) -> None:
        self.now = NOW

    def now_ms(self) -> int:
        return self.now

    def monotonic_ms(self) -> int:
        return self.now


class Api:
    """A running service, seen from one address; keys go along when `key` is set."""

    def __init__(self, service: Service, clock: StandingClock, peer: str, key: str | None) -> None:
        self.service = service
        self.clock = clock
        self.key = key
        transport = httpx.ASGITransport(app=service.app, client=(peer, 4711))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")

    async def ask(self, method: str, url: str, **given: Any) -> httpx.Response:
        headers = dict(given.pop("headers", {}))
        if self.key is not None:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        return await self.client.request(method, url, headers=headers, **given)

    async def get(self, url: str, **given: Any) -> httpx.Response:
        return await self.ask("GET", url, **given)

    async def json(self, url: str, **params: str | int) -> Any:
        """The answer of a GET that works."""
        response = await self.get(url, params=params or None)  # an empty one would drop the query of `url`
        assert response.status_code == 200, response.text
        return response.json()

    async def refused(self, url: str, status: int = 400) -> dict[str, Any]:
        """The problem that answers a GET."""
        response = await self.get(url)
        assert response.status_code == status, response.text
        problem: dict[str, Any] = response.json()
        return problem

    async def post(self, *bodies: bytes) -> list[str]:
        """The outcomes of signed bodies, posted one by one."""
        return [(await self.deliver(body)).headers["receiver-outcome"] for body in bodies]

    async def bytes_sent(self, method: str, path: str) -> bytes:
        """The body as the application sends it: httpx drops the one of a HEAD, and would hide it."""
        request = self.client.build_request(method, path)
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        if self.key is not None:
            headers.append((b"authorization", f"Bearer {self.key}".encode()))
        where = {"path": request.url.path, "root_path": "", "query_string": request.url.query}
        scope = {"type": "http", "method": method, "headers": headers, "client": ("127.0.0.1", 1), **where}
        parts: list[bytes] = []

        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            parts.append(message.get("body", b""))

        await self.service.app(scope, receive, send)
        return b"".join(parts)

    async def deliver(self, body: bytes, **headers: str) -> httpx.Response:
        """One signed delivery."""
        signature = {"X-Leadterra-Signature": sign(SECRET, body).hex()}
        return await self.client.post("/webhooks/leadterra", content=body, headers=signature | headers)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


KEYS = {
    "RECEIVER_ACCESS__ANALYST_KEYS": json.dumps([digest(ANALYST)]),
    "RECEIVER_ACCESS__ADMIN_KEYS": json.dumps([digest(ADMIN)]),
}


# An API key, and an address where nobody answers.
LEADTERRA = {
    "RECEIVER_LEADTERRA__BASE_URL": "http://127.0.0.1:9",
    "RECEIVER_LEADTERRA__API_KEY": "sk_test_web",
    "RECEIVER_RECONCILE__INTERVAL_S": "0",
}


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts services on one database; all are closed at the end."""
    async with AsyncExitStack() as opened:

        async def start(
            peer: str = "127.0.0.1", key: str | None = None, lock: DatabaseLock | None = None, **environ: str
        ) -> Api:
            given = {
                "RECEIVER_STORAGE__URL": f"sqlite:///{tmp_path / 'receiver.db'}",
                "RECEIVER_WEBHOOK__SECRETS": json.dumps([SECRET.decode()]),
                "RECEIVER_INGEST__COMMIT_TIMEOUT_S": "60",
            }
            settings = load(None, given | environ, {}).settings
            clock = StandingClock()
            writing = None
            if lock is not None:
                writing = opened.enter_context(launched(settings.database_path, clock.now_ms(), lock.share()))
            service = await Service.open(settings, TOKEN, frozenset({"192.0.2.1"}), clock=clock, launched=writing)
            opened.push_async_callback(service.close)
            api = Api(service, clock, peer, key)
            opened.push_async_callback(api.client.aclose)
            return api

        yield start


@pytest.fixture
async def api(start: Start) -> Api:
    """Without keys: whoever is on this machine may read."""
    found: Api = await start()
    return found


@pytest.fixture
async def keyed(start: Start) -> Api:
    """With keys, and none sent."""
    found: Api = await start(**KEYS)
    return found


@pytest.fixture
async def admin(start: Start) -> Api:
    """With keys, and the admin's sent."""
    found: Api = await start(key=ADMIN, **KEYS)
    return found


def problem(status: int, title: str, code: str, detail: str, **more: str) -> dict[str, Any]:
    """The one error body."""
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, **more}


def invalid(parameter: str, detail: str) -> dict[str, Any]:
    return problem(400, "Bad Request", "invalid_parameter", detail, parameter=parameter)


def body(event: str, at: str, **data: object) -> bytes:
    """One webhook body of 11 June 2025 at `09:14`; longer times as they are, fields that are None left out."""
    given = {name: value for name, value in data.items() if value is not None}
    time = at if "T" in at else f"2025-06-11T{at}:00Z"
    return json.dumps({"event": event, "timestamp": time, "data": given}).encode()


def started(campaign: str = "a", at: str = "08:00", name: str | None = None) -> bytes:
    return body("campaign.started", at, campaign={"id": campaign, "name": name})


def sent(message: str = "m1", at: str = "09:00", campaign: str | None = "a", step: int | None = 1) -> bytes:
    return body("message.sent", at, messageId=message, campaignId=campaign, sequenceStep=step)


def bounced(
    message: str = "m1", at: str = "09:05", kind: str = "hard", campaign: str | None = None, step: int | None = None
) -> bytes:
    return body("message.bounced", at, messageId=message, bounceType=kind, campaignId=campaign, sequenceStep=step)


def replied(
    reply: str = "r1",
    at: str = "09:20",
    campaign: str | None = "a",
    lead: str | None = "jo@example.org",
    message: str | None = None,
    kind: str | None = None,
) -> bytes:
    fields = {"id": reply, "campaignId": campaign, "email": lead, "classification": kind}
    given = {name: value for name, value in fields.items() if value is not None}
    return body("reply.received", at, reply=given, messageId=message)


def unread(number: int = 0) -> bytes:
    """A body that is no event of Leadterra's."""
    return json.dumps({"event": "message.opened", "n": number}).encode()
