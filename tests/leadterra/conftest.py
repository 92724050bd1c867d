"""A client over answers that a test makes up, inside the process or byte by byte behind a port."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
import stamina

from receiver.errors import LeadterraError
from receiver.leadterra.client import LeadterraClient

KEY = "sk_live_canary7f3a"
BASE_URL = "https://api.example"
STATS = {"campaignId": "camp_1", "sent": 12, "delivered": 11, "bounced": 1, "replied": 2}


@pytest.fixture(autouse=True)
def _unhurried() -> Iterator[None]:
    """Attempts follow each other at once; how long they wait is tested with a sleep that is written down."""
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


class Leadterra:
    """Gives its answers in turn, the last for ever; an exception is raised instead."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def client(self) -> LeadterraClient:
        return LeadterraClient(BASE_URL, KEY, transport=httpx.MockTransport(self))


def saying(body: object, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, content=json.dumps(body), headers=headers)


async def failure(call: Awaitable[object]) -> LeadterraError:
    """The error of a call that must fail; its text never holds the key."""
    with pytest.raises(LeadterraError) as caught:
        await call
    assert KEY.lower() not in (str(caught.value) + repr(caught.value)).lower()
    return caught.value


Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Port:
    """A server on loopback; `play` gets each connection once its request's head was read."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self.heads: list[bytes] = []
        self.connections = 0
        self.url = ""
        self.tasks: list[asyncio.Task[None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks += [task for task in [asyncio.current_task()] if task]
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            await self._play(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            return  # the client has gone, or the test is over
        finally:
            writer.close()


@asynccontextmanager
async def listening(play: Play) -> AsyncIterator[Port]:
    port = Port(play)
    server = await asyncio.start_server(port.serve, "127.0.0.1", 0)
    port.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield port
    finally:
        server.close()
        for task in port.tasks:
            task.cancel()
        await asyncio.gather(*port.tasks, return_exceptions=True)


def telling(answer: bytes) -> Play:
    """Writes one answer and closes the connection."""

    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return play


@asynccontextmanager
async def asking(url: str, timeout_s: float = 15.0) -> AsyncIterator[LeadterraClient]:
    client = LeadterraClient(url, KEY, timeout_s)
    try:
        yield client
    finally:
        await client.close()
