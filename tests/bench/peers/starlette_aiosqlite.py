"""Starlette and aiosqlite: an insert and a commit per request, over a connection of its own or over one for all.

Over one for all, the commit of one request takes the inserts of others along, which then have nothing left to commit:
they share it, as long as none of them fails.
"""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiosqlite
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.bench.peers import DATABASE, authentic

_Database = Callable[[], contextlib.AbstractAsyncContextManager[aiosqlite.Connection]]

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS events (
        id INTEGER PRIMARY KEY,
        event TEXT NOT NULL,
        message_id TEXT NOT NULL,
        received_at REAL NOT NULL,
        body TEXT NOT NULL,
        UNIQUE (event, message_id)
    )
"""


async def _webhook(request: Request, database: _Database) -> Response:
    """Store one event."""
    body = await request.body()
    if not authentic(body, request.headers.get("x-leadterra-signature")):
        return Response(status_code=401)
    payload = json.loads(body)
    async with database() as db:
        await db.execute(
            "INSERT OR IGNORE INTO events (event, message_id, received_at, body) VALUES (?, ?, ?, ?)",
            (payload["event"], payload["data"]["messageId"], time.time(), body.decode()),
        )
        await db.commit()
    return Response(status_code=204)


async def _over_a_new_one(request: Request) -> Response:
    return await _webhook(request, lambda: aiosqlite.connect(DATABASE))


async def _over_the_shared_one(request: Request) -> Response:
    return await _webhook(request, lambda: contextlib.nullcontext(request.app.state.db))


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    async with aiosqlite.connect(DATABASE) as db:
        await db.execute(_SCHEMA)
        await db.commit()
        app.state.db = db
        yield


def _app(webhook: Callable[[Request], Awaitable[Response]]) -> Starlette:
    return Starlette(routes=[Route("/webhooks/leadterra", webhook, methods=["POST"])], lifespan=_lifespan)


naive = _app(_over_a_new_one)
shared = _app(_over_the_shared_one)
