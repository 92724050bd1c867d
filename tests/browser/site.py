"""A receiver behind a real port of this process, with keys, and a clock that stands still unless a test moves it."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from receiver.app import Service
from receiver.clock import Clock
from receiver.leadterra.signature import sign
from receiver.serving import listening
from receiver.settings import Settings
from receiver.web.sessions import COOKIE

SECRET = "a throw-away secret of the browser's tests"
TOKEN = "token-of-the-lock-file"
ANALYST = "rcv_analyst"
ADMIN = "rcv_admin"
_AT_ONCE = 50
_PATIENCE_S = 60


def access() -> dict[str, tuple[str]]:
    """The settings' section for both keys."""
    analyst, admin = (hashlib.sha256(key.encode()).hexdigest() for key in (ANALYST, ADMIN))
    return {"analyst_keys": (analyst,), "admin_keys": (admin,)}


def settings_of(database: Path, *, keys: bool = True) -> Settings:
    return Settings.model_validate(
        {
            "webhook": {"secrets": (SECRET,)},
            "storage": {"url": f"sqlite:///{database}"},
            "access": access() if keys else {},
        }
    )


class Site:
    """Where a receiver is reached. `service` may be changed while it is down; its port stays."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.clock = clock
        self.port = 0
        self._settings = settings
        self._running = AsyncExitStack()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def up(self, service: Service | None = None) -> None:
        """Listen, for a service of somebody else's or one of its own, which is closed with it."""
        if service is None:
            service = await Service.open(self._settings, TOKEN, clock=self.clock)
            self._running.push_async_callback(service.close)
        listener = self._running.enter_context(socket.create_server(("127.0.0.1", self.port), backlog=128))
        self.port = listener.getsockname()[1]
        await self._running.enter_async_context(listening(self._settings, service, listener))

    async def down(self) -> None:
        await self._running.aclose()
        self._running = AsyncExitStack()

    def _client(self, headers: dict[str, str]) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=_PATIENCE_S)

    async def get(self, path: str, **params: Any) -> Any:
        """What the API answers to an analyst."""
        async with self._client({"Authorization": f"Bearer {ANALYST}"}) as client:
            answer = await client.get(path, params=params or None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def session(self, key: str) -> dict[str, str]:
        """The cookie of somebody who signed in with this key, as a browser keeps it."""
        async with self._client({"Sec-Fetch-Site": "same-origin"}) as client:
            answer = await client.post("/sign-in", data={"key": key})
        return {"name": COOKIE, "value": answer.cookies[COOKIE].strip('"'), "url": self.url}

    async def post(self, *bodies: bytes) -> list[str]:
        """The outcomes of signed deliveries."""
        async with self._client({}) as client:

            async def one(body: bytes) -> str:
                headers = {"X-Leadterra-Signature": sign(SECRET.encode(), body).hex()}
                answer = await client.post("/webhooks/leadterra", content=body, headers=headers)
                return str(answer.headers["receiver-outcome"])

            return [
                outcome
                for first in range(0, len(bodies), _AT_ONCE)
                for outcome in await asyncio.gather(*map(one, bodies[first : first + _AT_ONCE]))
            ]


@asynccontextmanager
async def opened(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Site]:
    """A receiver of its own, up until the end."""
    site = Site(settings, clock)
    await site.up()
    try:
        yield site
    finally:
        await site.down()
