"""The one place that talks HTTP to others: httpx clients, and posts over connections that stay open."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

import httptools
import httpx

from receiver import __version__

_TIMEOUT_S = 30.0
_CHUNK_BYTES = 65_536
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


def outside_client(timeout_s: float) -> httpx.Client:
    """A client for our own URL as others see it: it trusts whom the machine trusts, and follows no redirects."""
    return httpx.Client(timeout=timeout_s, trust_env=False, verify=ssl.create_default_context())


class Lanes:
    """Requests to somebody else's API, each over a connection of its own that stays open for the next one.

    Each connection has a transport of its own: one for all would look through all requests whenever one begins or
    ends. The caller bounds how many requests there are at once. They follow no redirects, keep no cookies, take no
    proxy from the environment, and ask for JSON, which may be gzipped. `timeout_s` is for each step of a call; a
    bound for the whole is the caller's. `transport` replaces the network.
    """

    def __init__(self, token: str, timeout_s: float, transport: httpx.AsyncBaseTransport | None = None) -> None:
        accepted = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        agent = f"leadterra-receiver/{__version__}"
        self.headers = httpx.Headers({"Authorization": f"Bearer {token}", **accepted, "User-Agent": agent})
        self._extensions = {"timeout": httpx.Timeout(timeout_s).as_dict()}
        self._transport = transport
        self._all: list[httpx.AsyncBaseTransport] = []
        self._idle: list[httpx.AsyncBaseTransport] = []
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    @contextlib.asynccontextmanager
    async def send(self, method: str, url: str, content: bytes | None = None) -> AsyncIterator[httpx.Response]:
        """The answer to one request, as soon as its head is there. Raises what httpx raises."""
        if self._closed:
            raise httpx.ConnectError("The connections are closed.")
        request = httpx.Request(method, url, content=content, headers=self.headers, extensions=self._extensions)
        if content is not None:
            request.headers["Content-Type"] = "application/json"
        lane = self._idle.pop() if self._idle else self._new()
        try:
            response = await lane.handle_async_request(request)
            try:
                yield response
            finally:
                await response.aclose()
        finally:
            self._idle.append(lane)

    async def close(self) -> None:
        """Close the connections; calls under way fail."""
        self._closed = True
        for lane in self._all:
            await lane.aclose()

    def _new(self) -> httpx.AsyncBaseTransport:
        lane = self._transport
        if lane is None:
            self._tls = self._tls or httpx.create_ssl_context(trust_env=False)
            limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
            lane = httpx.AsyncHTTPTransport(verify=self._tls, limits=limits, trust_env=False)
        self._all.append(lane)
        return lane


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
