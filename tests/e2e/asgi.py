"""The service inside the test's own process: what a socket cannot show, such as time on the event loop."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.types import Message

from receiver.clock import Clock, SystemClock
from receiver.ingest.meters import Meters
from receiver.ingest.probe import Probes
from receiver.ingest.rejected import RejectedBodies
from receiver.ingest.writer import Limits, Writer
from receiver.leadterra.payloads import Parser
from receiver.storage.sqlite.store import Store
from receiver.web.body import BodyReader
from receiver.web.request_id import RequestIds
from receiver.web.webhook import Webhook
from tests.e2e.server import COMMIT_TIMEOUT_S, SECRET, WEBHOOK, Answer, sign

Headers = list[tuple[bytes, bytes]]
BODY_LIMIT = 1_048_576


class Receiver:
    """The webhook over a real writer and database, asked without a network."""

    def __init__(self, webhook: Webhook, writer: Writer, store: Store, reader: BodyReader) -> None:
        self.writer = writer
        self.store = store
        self.reader = reader
        self._webhook = webhook

    async def deliver(self, body: bytes, headers: Headers | None = None) -> Answer:
        return await self.post(body, [(b"x-leadterra-signature", sign(body).encode()), *(headers or [])])

    async def post(self, body: bytes, headers: Headers) -> Answer:
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        return await self.stream(messages, headers)

    async def stream(self, messages: list[Message], headers: Headers) -> Answer:
        """The answer to a body that comes in these pieces; after the last one nothing more comes."""
        pieces = iter(messages)
        answered: list[Message] = []

        async def receive() -> Message:
            piece = next(pieces, None)
            return await asyncio.get_running_loop().create_future() if piece is None else piece

        async def send(message: Message) -> None:
            answered.append(message)

        scope = {"type": "http", "method": "POST", "path": WEBHOOK, "headers": headers, "client": ("127.0.0.1", 1)}
        await self._webhook(scope, receive, send)
        named = {name.decode(): value.decode() for name, value in answered[0]["headers"]} if answered else {}
        return Answer(answered[0]["status"] if answered else 0, named, answered[1]["body"] if answered else b"")

    async def run_sql(self, statement: str) -> Any:
        """Runs a statement on the writing connection itself, to bring trouble about."""

        def run(conn: sqlite3.Connection) -> Any:
            return conn.execute(statement).fetchall()

        return await self.store._connection.run(run)


@asynccontextmanager
async def opened_receiver(
    database: Path,
    *,
    clock: Clock | None = None,
    limits: Limits | None = None,
    parser: Parser | None = None,
    body_timeout_s: float = 8,
) -> AsyncIterator[Receiver]:
    clock = clock or SystemClock()
    store = await Store.open(database, clock.now_ms())
    meters = Meters()
    writer = Writer(store, clock, limits or Limits(commit_timeout_s=COMMIT_TIMEOUT_S), meters)
    reader = BodyReader(BODY_LIMIT, body_timeout_s)
    secrets = [(SECRET.encode(), (await store.secret_ids([SECRET.encode()], clock.now_ms()))[0])]
    rejected = RejectedBodies(database, clock, meters)
    parser = parser or store.parser
    probes = Probes("a token")
    webhook = Webhook(secrets, parser, writer, reader, clock, meters, RequestIds(), rejected, probes)
    await writer.start()
    await rejected.start()
    try:
        yield Receiver(webhook, writer, store, reader)
    finally:
        await rejected.close()
        await writer.close()
        await store.close()


class HeldLoop:
    """Awaits something and measures the longest stretch in which it kept the event loop to itself.

    Counts the thread's own processor time: a busy machine takes the processor away, but adds nothing.
    """

    def __init__(self, work: Awaitable[Answer]) -> None:
        self.longest_s = 0.0
        self._work = work

    def __await__(self) -> Generator[Any, None, Answer]:
        steps = self._work.__await__()
        while True:
            begun_s = time.thread_time()
            try:
                waited_for = next(steps)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return] # a generator's value is untyped
            finally:
                self.longest_s = max(self.longest_s, time.thread_time() - begun_s)
            yield waited_for


async def timed(work: Awaitable[Answer]) -> tuple[Answer, float]:
    """The answer, and the longest time in seconds that it held the event loop."""
    held = HeldLoop(work)
    return await held, held.longest_s
