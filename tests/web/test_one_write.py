"""An answer is written at once: each write is a system call, and wakes the client."""

import asyncio
import gc
import socket
from asyncio.selector_events import _SelectorSocketTransport  # type: ignore[attr-defined] # the loop's own
from collections.abc import AsyncIterator

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from receiver.serving import listening
from tests.web.conftest import Api

HOST = "Host: 127.0.0.1\r\n"


class Client:
    """A socket of its own, and what the server has written to it, write by write."""

    def __init__(self, connected: socket.socket, written: list[bytes]) -> None:
        self.socket = connected
        self.written = written

    async def ask(self, raw: str) -> list[bytes]:
        """The writes that answer a request, once the last one has arrived."""
        self.written.clear()
        await asyncio.get_running_loop().sock_sendall(self.socket, raw.encode())
        received = b""
        while not self.written or received != b"".join(self.written) or b"HTTP/1.1 100" in self.written[-1]:
            received += await self.more()
        return list(self.written)

    async def more(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.socket, 65_536)


@pytest.fixture
async def client(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    written: list[bytes] = []
    write = _SelectorSocketTransport.write

    def recorded(transport: asyncio.Transport, data: bytes) -> None:
        if data:
            written.append(data)
        write(transport, data)

    monkeypatch.setattr(_SelectorSocketTransport, "write", recorded)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as connected:
        async with listening(api.service._settings, api.service, listener):
            connected.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connected, listener.getsockname())
            yield Client(connected, written)


async def test_header_and_body_are_one_write(client: Client) -> None:
    (answer,) = await client.ask(f"GET /livez HTTP/1.1\r\n{HOST}\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'\r\n\r\n{"status":"alive"}')


async def test_a_header_without_a_body_is_written_before_the_next_answer(client: Client) -> None:
    (header,) = await client.ask(f"HEAD /livez HTTP/1.1\r\n{HOST}\r\n")
    assert header.endswith(b"\r\n\r\n")
    assert len(await client.ask(f"GET /livez HTTP/1.1\r\n{HOST}\r\n")) == 1


async def test_a_header_alone_is_written_before_the_connection_is_closed(client: Client) -> None:
    (header,) = await client.ask(f"HEAD /livez HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n")
    assert header.startswith(b"HTTP/1.1 200 OK\r\n")
    assert await client.more() == b""


async def test_a_client_that_waits_to_send_its_body_is_told_to_at_once(client: Client) -> None:
    expecting = f"POST /v1/campaigns HTTP/1.1\r\n{HOST}Content-Length: 2\r\nExpect: 100-continue\r\n"
    key = "Authorization: Bearer token-of-the-lock-file\r\n\r\n"
    await asyncio.get_running_loop().sock_sendall(client.socket, (expecting + key).encode())
    assert await client.more() == b"HTTP/1.1 100 Continue\r\n\r\n"
    (answer,) = await client.ask("{}")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_an_answer_is_not_kept_until_the_garbage_collector_comes(client: Client) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await client.ask(f"GET /livez HTTP/1.1\r\n{HOST}\r\n")
        kept = [each for each in gc.get_objects() if isinstance(each, RequestResponseCycle)]
        assert len(kept) <= 2  # the protocol's own
    finally:
        gc.enable()
