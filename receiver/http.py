"""The one place that talks HTTP to others: httpx clients, and posts over connections that stay open."""

import asyncio
import ssl
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

import httptools
import httpx

from receiver import __version__

_TIMEOUT_S = 30.0
_CHUNK_BYTES = 65_536
POOL_MAX = 32  # with more connections side by side httpx gets slower, not faster
# Nobody reads an answer's body; after this much the connection is given up instead.
_ANSWER_MAX_BYTES = 1_048_576


def server_client(url: str, token: str | None, timeout_s: float = _TIMEOUT_S) -> httpx.Client:
    """A client for our own server at `url`; it follows no redirects and takes no proxy from the environment."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url, headers=headers, timeout=timeout_s, trust_env=False)


def async_client(url: str, token: str, timeout_s: float = _TIMEOUT_S) -> httpx.AsyncClient:
    """The same for a task of the event loop."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout_s, trust_env=False)


def pooled_client(
    token: str, connections: int, timeout_s: float, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """A client for somebody else's API, with at most `connections` at once (1 to 32), each kept open.

    It follows no redirects, keeps no cookies, takes no proxy from the environment, and asks for JSON, which may
    be gzipped. `timeout_s` is for each step of a call; a bound for the whole is the caller's. `transport`
    replaces the network.
    """
    return httpx.AsyncClient(
        headers={
            "Authorization": f"Bearer {token}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": f"leadterra-receiver/{__version__}",
        },
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        limits=httpx.Limits(max_connections=min(connections, POOL_MAX), max_keepalive_connections=POOL_MAX),
        timeout=timeout_s,
        trust_env=False,
        follow_redirects=False,
        transport=transport,
    )


class Poster(Protocol):
    """Posts bodies, concurrently; the caller bounds how many at once, and how long each may take."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer. Raises OSError or httpx.HTTPError when there is none."""

    async def close(self) -> None:
        """Close what is kept open."""


class TransportPoster:
    """Posts through an httpx transport, such as one into an application of this process."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        request = httpx.Request("POST", url, content=body, headers=dict(headers))
        answer = await self._transport.handle_async_request(request)
        await answer.aread()
        return answer.status_code

    async def close(self) -> None:
        await self._transport.aclose()


class SocketPoster:
    """Posts over connections that stay open.

    By hand, because thousands of small posts a second are its purpose: side by side over 32 connections httpx
    managed 170 a second on the machine where this does thousands. It follows no redirects and uses no proxy.
    """

    def __init__(self) -> None:
        self._idle: dict[tuple[str, str, int], list[_Connection]] = {}
        self._tls: ssl.SSLContext | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        origin = (parts.scheme, parts.hostname or "", parts.port or (443 if secure else 80))
        request = _request(parts, body, headers)
        idle = self._idle.setdefault(origin, [])
        while idle:
            connection = idle.pop()
            try:
                return await self._exchange(connection, request, idle)
            except _StaleError:
                continue  # closed by the other side while it was idle
        reader, writer = await asyncio.open_connection(
            origin[1], origin[2], ssl=self._context() if secure else None, limit=_CHUNK_BYTES
        )
        return await self._exchange(_Connection(reader, writer), request, idle)

    async def close(self) -> None:
        for connections in self._idle.values():
            while connections:
                connections.pop().abort()

    async def _exchange(self, connection: "_Connection", request: bytes, idle: "list[_Connection]") -> int:
        try:
            status, reusable = await connection.exchange(request)
        except BaseException:
            connection.abort()
            raise
        if reusable:
            idle.append(connection)
        else:
            connection.abort()
        return status

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


class _StaleError(ConnectionError):
    """Nothing came back on a connection that had been used before."""


class _Connection:
    """One connection, one request at a time. It is its own listener for the parser's events."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._used = False
        self._complete = False
        self._has_headers = False
        self._stays_open = False

    def on_headers_complete(self) -> None:
        self._has_headers = True
        # Asked here: at the end of the message the parser has forgotten its length.
        self._stays_open = self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        self._complete = True

    async def exchange(self, request: bytes) -> tuple[int, bool]:
        """The status, and whether another request may follow on this connection."""
        parser = self._parser = httptools.HttpResponseParser(self)
        self._complete = self._has_headers = False
        received = 0
        try:
            self._writer.write(request)
            while not self._complete and received <= _ANSWER_MAX_BYTES:
                data = await self._reader.read(_CHUNK_BYTES)
                if not data:
                    break
                received += len(data)
                parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise ConnectionError("The answer is not HTTP.") from error
        except OSError as error:
            if self._used and not received:
                raise _StaleError from error
            raise
        if not self._has_headers:
            raise _StaleError if self._used and not received else ConnectionError("The connection ended early.")
        self._used = True
        return parser.get_status_code(), self._complete and self._stays_open

    def abort(self) -> None:
        self._writer.transport.abort()


def _request(parts: SplitResult, body: bytes, headers: Mapping[str, str]) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
