"""Posts over connections that stay open, against a server on loopback that answers byte by byte as told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from receiver import http
from receiver.http import SocketPoster

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"

# After these the server closes the connection.
ENDING = [
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
]


class Server:
    """Answers each request with the next of `answers`, then always with the last; None closes the connection."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""
        self.tasks: list[asyncio.Task[None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks += [task for task in [asyncio.current_task()] if task]
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    return
                writer.write(answer)
                if answer in ENDING:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def serving(*answers: bytes | None) -> AsyncIterator[tuple[Server, SocketPoster]]:
    told, poster = Server(*answers), SocketPoster()
    server = await asyncio.start_server(told.serve, "127.0.0.1", 0)
    told.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?x=1"
    try:
        yield told, poster
    finally:
        await poster.close()
        server.close()
        await asyncio.gather(*told.tasks)


async def test_one_connection_carries_many_posts() -> None:
    async with serving(NO_CONTENT) as (server, poster):
        assert [await poster.post(server.url, b"body", {"A": "b"}) for _ in range(3)] == [204] * 3
    assert server.connections == 1
    host = server.url.split("/")[2].encode()
    assert server.requests[0] == (
        b"POST /hook?x=1 HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 4\r\nA: b\r\n\r\nbody"
    )


async def test_posts_side_by_side_have_a_connection_each() -> None:
    async with serving(NO_CONTENT) as (server, poster):
        await asyncio.gather(*[poster.post(server.url, b"", {}) for _ in range(5)])
        assert server.connections == 5


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
)
async def test_bodies_of_answers_are_read_and_dropped(answer: bytes) -> None:
    async with serving(answer) as (server, poster):
        assert [await poster.post(server.url, b"", {}) for _ in range(2)] == [500, 500]
        assert server.connections == 1


@pytest.mark.parametrize("answer", ENDING)
async def test_a_connection_that_the_other_side_ends_is_not_used_again(answer: bytes) -> None:
    async with serving(answer) as (server, poster):
        assert [await poster.post(server.url, b"", {}) for _ in range(2)] == [200, 200]
        assert server.connections == 2


async def test_a_connection_that_was_closed_while_idle_is_replaced() -> None:
    async with serving(NO_CONTENT, None, NO_CONTENT) as (server, poster):
        assert [await poster.post(server.url, b"", {}) for _ in range(2)] == [204, 204]
        assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [(None, "The connection ended early."), (b"SMTP hello\r\nContent-Length\r\n\r\n", "The answer is not HTTP.")],
)
async def test_no_answer_is_an_error(answer: bytes | None, words: str) -> None:
    async with serving(answer) as (server, poster):
        with pytest.raises(ConnectionError, match=words):
            await poster.post(server.url, b"", {})


async def test_an_endless_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_ANSWER_MAX_BYTES", 10)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + b"x" * 50
    async with serving(answer) as (server, poster):
        assert [await poster.post(server.url, b"", {}) for _ in range(2)] == [200, 200]
        assert server.connections == 2


async def test_a_post_that_is_cancelled_leaves_no_connection_behind() -> None:
    async with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", NO_CONTENT) as (server, poster):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await poster.post(server.url, b"", {})
        assert await poster.post(server.url, b"", {}) == 204
        assert server.connections == 2


async def test_https_is_not_taken_from_a_server_without_it() -> None:
    async with serving(NO_CONTENT) as (server, poster):
        url = server.url.replace("http:", "https:")
        for _ in range(2):
            with pytest.raises(OSError):  # noqa: PT011 # a TLS error or, as here, no answer in time
                async with asyncio.timeout(0.05):
                    await poster.post(url, b"", {})
